#!/bin/sh
# build.sh FOLDER: compiles the driver's own tools into FOLDER.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
# With musl a sleeper is a page or two; with glibc it works just as well.
CC=${CC:-gcc}
if command -v musl-gcc >/dev/null; then CC=musl-gcc; fi
for tool in sleeper launch floor; do
	"$CC" -static -O2 -s -Wall -o "$1/$tool" "$here/tools/$tool.c"
done
