#!/bin/sh
# Runs every fuzz target of the module for FUZZTIME (default 10s): Go fuzzes
# one target of one package at a time, beginning with the inputs that are kept in
# its testdata/fuzz. Ends with 1 when one of them failed, but only after all have
# run. -l lists the targets, as "folder name", and runs none.
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
if [ "${1:-}" = -l ]; then
	echo "$targets"
	exit 0
fi
echo "fuzz: $(echo "$targets" | wc -l) targets, $FUZZTIME each"

# A target that hangs is a finding too: a number of seconds is given two minutes
# more, for building and for what it has found.
bound=
case ${FUZZTIME%s} in
*[!0-9]* | '') ;;
*) bound="timeout -k 10 $((${FUZZTIME%s} + 120))" ;;
esac

# Making each input smaller that reaches something new would take a minute, and
# all the time there is.
failed=""
while read -r dir target; do
	echo "fuzz: $dir $target"
	$bound "$GO" test -run '^$' -fuzz "^$target\$" -fuzztime "$FUZZTIME" -fuzzminimizetime 200x "$dir" </dev/null || failed="$failed $dir:$target"
done <<LIST
$targets
LIST
if [ -n "$failed" ]; then
	echo "fuzz: failed:$failed" >&2
	exit 1
fi
