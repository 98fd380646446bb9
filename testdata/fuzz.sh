#!/bin/sh
# Runs every fuzz target of the module for FUZZTIME (default 10s): Go fuzzes
# one target of one package at a time. Ends with 1 when one of them failed, but
# only after all have run.
set -eu
cd "$(dirname "$0")/.."
GO=${GO:-go}
FUZZTIME=${FUZZTIME:-10s}

targets=$(grep -r --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*(' . |
	sed -E 's|^(\./.*)/[^/]+:func (Fuzz[A-Za-z0-9_]*)\(.*|\1 \2|' | sort)
if [ -z "$targets" ]; then
	echo "cannot fuzz: no fuzz target found" >&2
	exit 1
fi

failed=""
while read -r dir target; do
	echo "fuzz: $dir $target for $FUZZTIME"
	"$GO" test -run '^$' -fuzz "^$target\$" -fuzztime "$FUZZTIME" "$dir" </dev/null || failed="$failed $dir:$target"
done <<LIST
$targets
LIST
if [ -n "$failed" ]; then
	echo "fuzz: failed:$failed" >&2
	exit 1
fi
