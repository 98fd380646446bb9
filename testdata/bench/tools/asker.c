/* asker: the bare cost of checks. For so long it makes so many HTTP requests and
 * runs /bin/true so often, spread over each second, and exits.
 * asker PORT REQUESTS-A-SECOND RUNS-A-SECOND SECONDS */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int ask(int port, long i)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	char b[4096];
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s < 0 || connect(s, (struct sockaddr *)&a, sizeof a))
		return 111;
	int n = snprintf(b, sizeof b, "GET /%ld HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", i);
	if (write(s, b, n) != n)
		return 111;
	while (read(s, b, sizeof b) > 0) {
	}
	return close(s);
}

static int run(void)
{
	int status;
	pid_t p = vfork();
	if (p == 0) {
		execl("/bin/true", "true", (char *)0);
		_exit(127);
	}
	return p < 0 || waitpid(p, &status, 0) != p || status;
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	long port = atol(argv[1]), asks = atol(argv[2]), runs = atol(argv[3]), seconds = atol(argv[4]);
	long long begun;
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	begun = t.tv_sec * 1000000000ll + t.tv_nsec;
	long asked = 0, ran = 0;
	for (long tick = 0; tick < 1000 * seconds; tick++) {
		long long at = begun + tick * 1000000;
		t.tv_sec = at / 1000000000;
		t.tv_nsec = at % 1000000000;
		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, 0)) {
		}
		for (; asked * 1000 < asks * (tick + 1); asked++)
			if (ask(port, asked % (asks ? asks : 1)))
				return 111;
		for (; ran * 1000 < runs * (tick + 1); ran++)
			if (run())
				return 111;
	}
	return 0;
}
