package man

// initPage is nines-init(8). A test holds it against what the program itself
// says.
func initPage() *page {
	p := newPage("nines-init", 8, "the keeper: PID 1 or a subreaper, which keeps the supervisor alive")
	p.heading("synopsis")
	p.line(bold("nines-init"), " [", bold("-f"), " ", italic("PATH"), "]... [", italic("flags"), "]")
	p.line(".br")
	p.line(bold("nines-init"), " [", bold("-g"), "] [", bold("-s"), "] [", bold("-p"), " ", italic("SIGNAL"), "] [", bold("-r"), " ", italic("FROM:TO"), "] [",
		bold("-e"), " ", italic("CODE"), "] [", bold("-v"), "] ", bold("--"), " ", italic("COMMAND"), "...")
	p.heading("description")
	p.text(`Without a command it starts "nines supervise" and nines-log, starts them again when they die,
reaps every process that loses its parent, and holds for them what must outlive them: listening
sockets, log pipes and what the supervisor knows of its services. It decides nothing and never
ends by itself while anything is kept. A second one on the same runtime folder refuses to start.

As the init of a machine it also mounts what is missing, opens the console, and powers off at the
end. As PID 1 of a container it is the entrypoint: its exit status is that of the essential service
that ended, 0 after an orderly shutdown.

With a command it runs that alone, passes every signal on to it, reaps, and ends with its status.
SIGPROF cannot be passed on: the runtime of Go keeps it.`)
	p.heading("options")
	for _, o := range [][3]string{
		{"-f", "PATH", "a specification: a file, or a folder of *.hcl (repeatable; default /etc/nines)"},
		{"--watch", "", "apply specifications when they have changed"},
		{"--supervisor", "PATH", "the nines to run (default: beside nines-init)"},
		{"--runtime-dir", "DIR", "where lock and sockets are (default /run/nines; NINES_RUNTIME_DIR)"},
		{"--socket", "PATH", "the control socket (default control.sock in the runtime folder; NINES_SOCKET)"},
		{"--state-dir", "DIR", "what must last (default /var/lib/nines; NINES_STATE_DIR)"},
		{"--log-dir", "DIR", "the logs of the services (default /var/log/nines; NINES_LOG_DIR)"},
		{"--machine", "yes|no", "whether to be the init of a machine: mounts, console, power-off (default: as PID 1 outside of a container)"},
		{"-v", "", "(--verbose) say more"},
		{"--version", "", "print the version"},
		{"-h", "", "(--help) print what flags there are"},
	} {
		option(p, o)
	}
	p.subheading("With a command")
	for _, o := range [][3]string{
		{"-g", "", "the command has a session of its own, signals go to its whole process group, and the group gets SIGTERM when the command ends; SIGTSTP, SIGTTIN and SIGTTOU are sent on as SIGSTOP"},
		{"-s", "", "reap orphans also when not PID 1: become a subreaper"},
		{"-p", "SIGNAL", "the signal that comes when the parent dies"},
		{"-r", "FROM:TO", "pass signal FROM on as TO, or not at all where TO is 0 (repeatable)"},
		{"-e", "CODE", "exit with 0 where the status would be CODE (repeatable)"},
	} {
		option(p, o)
	}
	p.words("A signal is a name or a number: TERM, SIGTERM, 15, RTMIN+3.")
	p.heading("signals")
	p.text(`SIGTERM and SIGINT stop everything in order. SIGHUP applies the specification again. SIGQUIT, SIGUSR1
and SIGUSR2 are passed on to the supervisor.`)
	p.heading("exit status")
	p.text(`As the supervisor says; 1 where it cannot begin, 2 for wrong usage. With a command: the command's,
or 128+N where signal N killed it; 127 where it is not found, 126 where it cannot be executed, 1
where it cannot be started for another reason.`)
	p.heading("notes")
	p.words("Under systemd: Type=notify, KillMode=mixed, Delegate=yes, as in the unit nines.service that is installed.")
	p.see(".BR nines (1)", ".BR nines.hcl (5)", ".BR nines\\-log (8)", ".BR nines\\-exec (8)")
	return p
}

func option(p *page, o [3]string) {
	term := bold(o[0])
	if o[1] != "" {
		term += " " + italic(o[1])
	}
	p.item(term, o[2])
}

func execPage() *page {
	p := newPage("nines-exec", 8, "sets what a service needs between its clone and its exec")
	p.heading("description")
	p.text(`The supervisor starts it in the place of a service that needs more than one clone can set: limits
(rlimits), umask, nice, oom_score_adj, listening sockets. It reads its settings from a sealed memory
file, applies them in order, executes the service's command in its own place, and says which
step failed and why where one did.

It is no program for people: called by hand it says so and exits with 1.`)
	p.see(".BR nines\\-init (8)", ".BR nines.hcl (5)")
	return p
}

func logPage() *page {
	p := newPage("nines-log", 8, "reads the output of all services")
	p.heading("description")
	p.text(`The keeper, nines-init, starts it and hands it the read ends of the services' pipes. It writes each
line, behind its time, to LOGDIR/SERVICE/INDEX.log, rotates and compresses these files as the
log block of the service says, keeps the last lines in memory, and answers "nines logs".

When it dies, the keeper starts it again; nobody gets SIGPIPE, and nothing that is in a pipe is
lost. A slow disk makes those wait who write; a full, read-only or broken one loses lines, which are
counted in the log and in an event. It is no program for people.`)
	p.heading("files")
	p.item(italic("/var/log/nines"), "the log folder of root; see\n")
	p.line(".BR nines (1)")
	p.words("for others.")
	p.see(".BR nines\\-logs (1)", ".BR nines\\-init (8)", ".BR nines.hcl (5)")
	return p
}
