#!/bin/sh
# build.sh FOLDER: compiles the driver's own tools into FOLDER.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
CC=${CC:-gcc}
for tool in launch floor flood answer asker; do
	"$CC" -static -O2 -s -Wall -o "$1/$tool" "$here/tools/$tool.c"
done
"$CC" -static -nostdlib -ffreestanding -fno-stack-protector -fno-builtin -fno-pie -no-pie -O2 -s -Wall -o "$1/sleeper" "$here/tools/sleeper.c"
