#!/bin/sh
# A service in shell that says when it is ready, and what it does. systemd-notify
# is part of Debian's package systemd; nothing of that needs to run.
set -eu

on_reload() {
	systemd-notify RELOADING=1 STATUS="reading its configuration again"
	systemd-notify --ready --status="serving"
}
trap on_reload HUP
trap 'systemd-notify STOPPING=1; exit 0' TERM

systemd-notify --status="getting ready"
# … whatever it takes …
systemd-notify --ready --status="serving"
while :; do
	sleep 1 &
	wait $! || :
done
