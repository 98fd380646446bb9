#!/bin/bash
# nines: one service block each, a restart delay of 0s, and no crash loop, so
# that what is measured is the machinery and not a pause that was asked for.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
caps() { echo start respawn mass idle ctl stop maxn=9000; }
prepare() {
	local i
	for ((i = 0; i < N; i++)); do
		cat <<SPEC
service "svc$i" {
  command = ["$SLEEPER", "$STAMPS", "$i"]
  restart {
    delay  = "0s"
    jitter = 0
  }
  crash_loop {
    failures = 10000
  }
}
SPEC
	done >"$DIR/spec.hcl"
	argv "$NINES_BIN/nines-init" -f "$DIR/spec.hcl" --runtime-dir "$DIR/run" --state-dir "$DIR/state" --log-dir "$DIR/log"
}
nines() { NINES_RUNTIME_DIR=$DIR/run "$NINES_BIN/nines" "$@"; }
status() { nines status; }
stop1() { nines stop "svc$INDEX"; }
# start waits for a second of uptime by design; peers return once it runs.
start1() { nines start --no-wait "svc$INDEX"; }
main
