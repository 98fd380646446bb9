#!/bin/bash
# s6: s6-svscan, and an s6-supervise for each service.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
caps() { if has s6-svscan; then echo start respawn mass idle ctl stop maxn=10000; fi; }
prepare() {
	local i S=$DIR/sv head='#!/bin/sh\nexec'
	# execline starts faster than a shell, and is what s6 recommends.
	if has execlineb; then head="#!$(command -v execlineb) -P\n"; fi
	mkdir -p "$S"
	(cd "$S" && seq 0 $((N - 1)) | sed 's/^/svc/' | xargs mkdir -p)
	for ((i = 0; i < N; i++)); do
		printf '%b %s %s %s\n' "$head" "$SLEEPER" "$STAMPS" "$i" >"$S/svc$i/run"
	done
	find "$S" -name run -print0 | xargs -0 chmod +x
	argv s6-svscan -c 25000 -t 0 "$S"
}
status() { for d in "$DIR"/sv/*/; do s6-svstat "$d"; done; }
stop1() { s6-svc -wd -d "$DIR/sv/svc$INDEX"; }
start1() { s6-svc -wu -u "$DIR/sv/svc$INDEX"; }
main
