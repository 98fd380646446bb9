#!/bin/sh
# What `make bench` runs; arguments go to bench.py.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
for tool in python3 gcc taskset; do
	command -v "$tool" >/dev/null || {
		echo "bench: cannot find $tool: on Debian, apt install python3 gcc libc6-dev util-linux" >&2
		exit 1
	}
done
exec python3 -B "$here/bench.py" "$@"
