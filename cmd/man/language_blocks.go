package man

// language is every block, in the order in which people meet them. A test holds
// it against a specification that uses everything.
func language() []block {
	return append([]block{
		{"supervisor", "supervisor { }", "How the supervisor itself runs; at most one.", []attr{
			{"state_dir", `"/var/lib/nines"`, "releases, history and events"},
			{"log_dir", `"/var/log/nines"`, "where the logs of services go"},
			{"shutdown_timeout", `"60s"`, "a shutdown that takes longer kills what is left"},
			{"watchdog", "", "the hardware watchdog to pet, as \"/dev/watchdog\""},
			{"metrics", "", "address of the Prometheus exposition"},
			{"web", "", "address of the dashboard"},
		}},
		{"supervisor.control", "supervisor { control { } }", "Who may use the control socket, beside root and the supervisor's own user.", []attr{
			{"group", "", "its members may do everything"},
			{"mode", `"0600"`, "of the socket; who it lets read and write besides may read only"},
		}},
		{"locals", "locals { }", "Names for values: local.NAME.", nil},
		{"check", "check \"NAME\" { }", "A check of the machine: one of disk { path, free, inodes, writable }, clock { step }, pressure { of, above }, tcp { address }.", []attr{
			{"interval", `"10s"`, "time between two"},
			{"on_failure", `"alert"`, "what then happens"},
		}},
		{"alert", "alert \"NAME\" { }", "Whom to tell.", []attr{
			{"on", "", "kinds of events"},
			{"command", "", "what is run"},
			{"webhook", "", "or a URL to post to"},
		}},
		{"group", "group \"NAME\" { }", "Services that fail together.", []attr{
			{"members", "", "names, in the order in which they start"},
			{"strategy", `"one_for_one"`, "which are restarted when one fails: one_for_one itself, one_for_all all, rest_for_one it and those after it"},
		}},
		{"service", "service \"NAME\" { }", "A service and how it is kept.", []attr{
			{"command", "required", "the program and its arguments, no shell; found in the service's PATH"},
			{"type", `"service"`, "service: it stays up; task: it runs to completion, once a boot and revision"},
			{"instances", "1", "how many; each has an index from 0"},
			{"mode", `"active-active"`, "or active-passive: one active, the others standing by"},
			{"enabled", "true", "false: defined and not started"},
			{"needs", "[]", "services that must be ready, or tasks that must have completed, before it starts"},
			{"after", "[]", "order alone"},
			{"user", "the supervisor's", "who it runs as"},
			{"group", "the user's", "its group"},
			{"groups", "the user's", "further groups"},
			{"directory", "the supervisor's", "where it runs"},
			{"umask", "the supervisor's", "as \"022\""},
			{"nice", "the supervisor's", "-20 to 19"},
			{"oom_score_adj", "the supervisor's", "-1000 to 1000"},
			{"env", "{}", "environment, added to PATH, HOME, USER, LOGNAME, SHELL and NINES_*"},
			{"env_file", "", "a file of NAME=value lines; with - before it, it may be absent"},
			{"inherit_env", "false", "add to the supervisor's environment instead; true for \"nines up\" and as PID 1 of a container"},
			{"rlimits", "{}", "as { nofile = 65536, nproc = \"100:200\", core = \"unlimited\" }"},
			{"essential", "false", "when it has ended for good everything is shut down, with its status"},
			{"available_at_least", "instances - 1, at least 1; 0 for one instance", "no automatic act takes ready instances below this"},
			{"slo", "", "the target of the availability report, as \"99.9%\""},
		}},
		{"service.start", "service { start { } }", "Starting.", []attr{{"timeout", `"30s"`, "not ready by then is a failed start"}}},
		{"service.stop", "service { stop { } }", "Stopping.", []attr{
			{"signal", `"SIGTERM"`, "what it is sent, followed by SIGCONT"},
			{"timeout", `"10s"`, "then everything that it started is killed"},
			{"command", "[]", "is run instead of the signal"},
		}},
		{"service.reload", "service { reload { } }", "What \"nines reload\" does: one of", []attr{
			{"signal", "", "it is sent"},
			{"command", "", "it is run"},
		}},
		{"service.restart", "service { restart { } }", "What happens when an instance ends by itself.", []attr{
			{"policy", `"always"; "on-failure" for a task`, "always, on-failure or never"},
			{"delay", `"100ms"`, "before the first restart"},
			{"max_delay", `"30s"`, "it grows up to this"},
			{"factor", "2", "with each further restart"},
			{"jitter", "0.1", "share of the delay by which it varies"},
			{"reset_after", `"60s"`, "ready for so long forgets what was"},
			{"success_codes", "[0]", "exit codes that are no failure"},
			{"fatal_codes", "[78, 125]", "exit codes for which no retry helps"},
		}},
		{"service.crash_loop", "service { crash_loop { } }", "What counts as a loop of crashes.", []attr{
			{"failures", "5", "so many ends of an instance"},
			{"within", `"60s"`, "in so long"},
			{"then", `"rollback"`, "rollback, hold (try on at max_delay), stop or shutdown"},
		}},
		{"service.recycle", "service { recycle { } }", "Planned replacement, one instance at a time: by age or by schedule.", []attr{
			{"max_age", "", "an instance is replaced when it is so old"},
			{"jitter", "0.1", "share by which max_age may be shorter"},
			{"schedule", "", "as cron's five fields, local time"},
		}},
	}, moreLanguage()...)
}

func moreLanguage() []block {
	return []block{
		{"service.ready", "service { ready { } }", "When an instance is ready; without it, when exec has succeeded.", []attr{
			{"delay", "", "so long after exec"},
			{"notify", "", "\"systemd\": READY=1 at $NOTIFY_SOCKET"},
			{"fd", "", "a newline at that descriptor, as with s6"},
			{"interval", "", "how often the check that stands here, of any kind below, is tried"},
		}},
		{"service.check", "service { check \"NAME\" { } }", `Is it healthy? It holds one block that says how: exec { command }, tcp { address }, http { url, socket,
method, status, headers, body_match, max_latency, ca_file, insecure }, grpc { address, service }, heartbeat { },
metrics { url, expr, window }, log { pattern, max }, outlier { of }, cpu { above, for }, stall { for }.`, []attr{
			{"interval", `"10s"`, "time between two"},
			{"timeout", `"1s"`, "longer is a failure"},
			{"failures", "3", "so many in a row and it is unhealthy"},
			{"successes", "1", "so many in a row and it is healthy again"},
			{"initial_delay", `"0s"`, "after the start"},
			{"on_failure", `"restart"`, "restart, isolate, alert or dump (SIGABRT, then restart)"},
		}},
		{"service.memory", "service { memory { } }", "Limits of memory, and what a leak leads to.", []attr{
			{"low", "", "is protected from reclaim"}, {"swap", "", "swap at most"},
			{"high", "", "throttled and reclaimed beyond it"}, {"max", "", "killed beyond it"},
			{"restart_above", "", "replaced when it stays above"},
			{"growth", "", "a leak, as \"10MiB/1m\""},
			{"for", `"30s"`, "how long it must stay above"}, {"window", `"10m"`, "over which growth is measured"},
			{"on_leak", `"restart"`, "restart or alert"},
			{"required", "false", "true, in any block of limits: what cannot be enforced here is an error"},
		}},
		{"service.cpu", "service { cpu { } }", "Processor time.", []attr{{"max", "", "as \"150%\" of one processor"}, {"weight", "100", "share when it is scarce"}}},
		{"service.pids", "service { pids { } }", "Processes and threads.", []attr{{"max", "", "how many"}}},
		{"service.io", "service { io { } }", "Disks.", []attr{{"weight", "100", "share when they are busy"}}},
		{"service.isolate", "service { isolate { } }", "Faulty instances kept frozen for inspection.", []attr{
			{"keep", "1", "how many"}, {"ttl", `"1h"`, "for how long"}, {"memory_max_total", `"25%"`, "and not beyond this"},
		}},
		{"service.sandbox", "service { sandbox { } }", "What the service may not do.", []attr{
			{"no_new_privileges", "true", "setuid programs give it nothing"}, {"capabilities", "[]", "all others are dropped"},
			{"read_only", "[]", "paths it may not write to"}, {"writable", "[]", "below them, paths it may"},
			{"private_tmp", "false", "a /tmp of its own"}, {"private_network", "false", "no network"}, {"private_pids", "false", "sees its own processes alone"},
			{"syscalls", `"default"`, "default, strict or none"},
		}},
		{"service.listen", "service { listen \"NAME\" { } }", "A socket that outlives the service: passed as LISTEN_FDS, LISTEN_FDNAMES and $NINES_FD_NAME.", []attr{
			{"address", "required", "tcp://HOST:PORT, udp://HOST:PORT or unix:///PATH"},
			{"share", `"inherit"`, "inherit: one for all instances; reuseport: one each"},
			{"mode", "", "of a unix socket"}, {"user", "", "its owner"},
		}},
		{"service.port", "service { port \"NAME\" { } }", "A port for each instance: port.NAME and $NINES_PORT_NAME.", []attr{{"base", "a free one", "this plus the index"}}},
		{"service.log", "service { log { } }", "What it writes.", []attr{
			{"max_size", `"10MiB"`, "then the file is rotated"}, {"keep", "5", "rotated files"}, {"compress", "true", "them, with gzip"},
			{"rate", "", "a service that writes faster waits, as \"1MiB/1s\""},
			{"to", `["file"]`, "file, stdout or both"}, {"streams", `"merged"`, "or split: stderr apart"}, {"format", `"text"`, "or json"},
		}},
		{"service.standby", "service { standby { } }", "With mode = \"active-passive\"; holds promote { } and demote { }, each with a signal or a command.", []attr{
			{"kind", `"warm"`, "warm: standbys run; cold: they are started when promoted"},
		}},
		{"service.update", "service { update { } }", "How a new revision replaces the old one.", []attr{
			{"order", `"auto"`, "start-first, stop-first or auto"}, {"max_parallel", "1", "instances at a time"}, {"canary", "1", "instances that go first"},
			{"min_healthy", `"10s"`, "ready for so long before the next"}, {"deadline", `"5m"`, "without progress is a failure"},
			{"auto_revert", "true", "go back where it fails"}, {"probation", `"1h"`, "a crash loop so long after it reverts it too"},
		}},
		{"service.release", "service { release { } }", "The program as something with versions.", []attr{
			{"path", "", "a file or a folder"}, {"watch", "true", "a new one there is an update"}, {"keep", "5", "versions"},
		}},
		{"service.data", "service { data { } }", "State that goes back with the program.", []attr{
			{"paths", "", "are copied before an update, while nothing of it runs"}, {"restore", "false", "put them back on a revert"},
			{"before_update", "[]", "a command before the copy"}, {"on_revert", "[]", "one after they are back"},
		}},
	}
}
