/* floor N SLEEPER FILE: the physical limit that supervisors are measured
 * against. It starts N children with vfork and execve, starts each again at
 * once when it ends, and on SIGTERM ends and reaps them all. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PID_MAX = 1 << 22 };

extern char **environ;
static char *sleeper, *file;
static pid_t *pids;   /* by index */
static int *index_of; /* by pid */
static sigset_t none;

static void start(int i)
{
	char number[16];
	snprintf(number, sizeof number, "%d", i);
	char *args[] = { sleeper, file, number, NULL };
	pid_t p = vfork();
	if (p == 0) {
		sigprocmask(SIG_SETMASK, &none, NULL);
		execve(sleeper, args, environ);
		_exit(127);
	}
	if (p < 0)
		abort();
	pids[i] = p;
	index_of[p] = i;
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	int n = atoi(argv[1]), left = n, stopping = 0;
	sleeper = argv[2];
	file = argv[3];
	pids = calloc(n, sizeof *pids);
	index_of = calloc(PID_MAX, sizeof *index_of);
	if (!pids || !index_of)
		abort();
	sigset_t wanted;
	sigemptyset(&none);
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGCHLD);
	sigaddset(&wanted, SIGTERM);
	sigprocmask(SIG_BLOCK, &wanted, NULL);
	for (int i = 0; i < n; i++)
		start(i);
	while (left > 0) {
		if (sigwaitinfo(&wanted, NULL) == SIGTERM && !stopping) {
			stopping = 1;
			for (int i = 0; i < n; i++)
				if (pids[i])
					kill(pids[i], SIGTERM);
		}
		pid_t p;
		while ((p = waitpid(-1, NULL, WNOHANG)) > 0) {
			int i = index_of[p];
			pids[i] = 0;
			if (stopping)
				left--;
			else
				start(i);
		}
	}
	return 0;
}
