# shellcheck shell=bash
# Sourced by every adapter, which defines some of these functions and then
# calls main:
#
#   caps      prints what the peer can be asked for: start respawn mass idle ctl
#             stop, and maxn=COUNT; nothing at all when it is not installed
#   prepare   writes a configuration for services svc0 … svc(N-1) below DIR,
#             each running `$SLEEPER $STAMPS INDEX`, started again at once and
#             for ever, and calls `argv WORD...`: the supervisor's command
#   stop      PID is the supervisor's: asks it to end with all services
#   status    prints the state of all services
#   stop1, start1   service number INDEX; return when it is done
set -u
# shellcheck disable=SC2034 # they are the adapters'
verb=$1 DIR=${2:-} N=${3:-} PID=${3:-} INDEX=${3:-}
argv() { printf '%s\n' "$@" >"$DIR/argv"; }
has() { command -v "$1" >/dev/null; }
caps() { :; }
prepare() { :; }
stop() { kill -TERM "$PID"; }
status() { :; }
stop1() { :; }
start1() { :; }
main() {
	case $verb in
	caps | prepare | stop | status | stop1 | start1) "$verb" ;;
	*) echo "adapter: no such verb: $verb" >&2 && exit 2 ;;
	esac
}
