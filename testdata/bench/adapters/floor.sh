#!/bin/bash
# The C floor: vfork, execve, again. It has nothing to control it with.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
caps() { echo start respawn mass idle stop maxn=10000; }
prepare() { argv "$TOOLS/floor" "$N" "$SLEEPER" "$STAMPS"; }
main
