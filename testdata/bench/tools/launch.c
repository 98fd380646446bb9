/* launch FILE SLOT LOG ARGVFILE CGROUP...: joins the cgroups, stamps SLOT of
 * FILE with the time and its pid, and becomes the supervisor under test.
 * ARGVFILE holds one argument a line. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what)
{
	perror(what);
	exit(111);
}

int main(int argc, char **argv)
{
	char text[65536], path[512], *args[512];
	int n = 0;
	if (argc < 5)
		return 2;
	int fd = open(argv[4], O_RDONLY);
	ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (len < 0)
		die(argv[4]);
	close(fd);
	text[len] = 0;
	for (char *t = strtok(text, "\n"); t && n < 510; t = strtok(NULL, "\n"))
		args[n++] = t;
	args[n] = NULL;
	for (int i = 5; i < argc; i++) {
		snprintf(path, sizeof path, "%s/cgroup.procs", argv[i]);
		if ((fd = open(path, O_WRONLY)) < 0 || write(fd, "0", 1) != 1)
			die(path);
		close(fd);
	}
	if ((fd = open(argv[3], O_WRONLY | O_CREAT | O_TRUNC, 0644)) < 0)
		die(argv[3]);
	dup2(fd, 1);
	dup2(fd, 2);
	if (fd > 2)
		close(fd);
	if ((fd = open("/dev/null", O_RDONLY)) < 0)
		die("/dev/null");
	dup2(fd, 0);
	if (fd > 2)
		close(fd);
	setsid();
	struct { uint64_t start; uint32_t pid, generation; } r = { 0, getpid(), 1 };
	if ((fd = open(argv[1], O_RDWR | O_CLOEXEC)) < 0)
		die(argv[1]);
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	r.start = t.tv_sec * 1000000000ull + t.tv_nsec;
	if (pwrite(fd, &r, sizeof r, (off_t)atoi(argv[2]) * 64) != sizeof r)
		die(argv[1]);
	execvp(args[0], args);
	die(args[0]);
}
