#!/bin/bash
# runit: runsvdir, and a runsv for each service.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
caps() { if has runsvdir; then echo start respawn mass idle ctl stop maxn=1000; fi; }
prepare() {
	local i S=$DIR/sv
	mkdir -p "$S"
	(cd "$S" && seq 0 $((N - 1)) | sed 's/^/svc/' | xargs mkdir -p)
	for ((i = 0; i < N; i++)); do
		printf '#!/bin/sh\nexec %s %s %s\n' "$SLEEPER" "$STAMPS" "$i" >"$S/svc$i/run"
	done
	find "$S" -name run -print0 | xargs -0 chmod +x
	# runsvdir sleeps for 1 s when the folder changed within the current second.
	touch -d '1 hour ago' "$S"
	argv runsvdir -P "$S"
}
stop() { kill -HUP "$PID"; }
status() { (cd "$DIR/sv" && SVDIR=$DIR/sv sv status ./*); }
stop1() { SVDIR=$DIR/sv sv -w 10 down "svc$INDEX"; }
start1() { SVDIR=$DIR/sv sv -w 10 up "svc$INDEX"; }
main
