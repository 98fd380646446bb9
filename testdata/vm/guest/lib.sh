# Functions for the scripts of the VM tests (busybox sh, set -eu).

# fail TEXT…: end the script with status 1.
fail() { echo "FAIL: $*"; exit 1; }

# await SECONDS COMMAND…: until COMMAND succeeds.
await() {
	_end=$(($(cut -d. -f1 /proc/uptime) + $1))
	shift
	until "$@" >/tmp/await 2>&1; do
		[ "$(cut -d. -f1 /proc/uptime)" -lt "$_end" ] || fail "never came: $*: $(cat /tmp/await)"
		sleep 0.1
	done
}

# up: until every service but the driver itself is ready.
up() { await 60 nines ready "$@"; }
