/* answer: answers HTTP requests for /N, and notes when each came.
 * answer PORT FILE SLOTS
 * FILE holds for each N (below SLOTS) four numbers of 8 bytes: how many requests
 * came, when the last did, and the longest and the sum of the times between two,
 * all in ns; then a histogram of those times: HISTOGRAM counters, one a
 * millisecond. It is a floor itself: one thread, one request at a time. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HISTOGRAM 10000

struct slot {
	uint64_t count, last, longest, sum;
};

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int main(int argc, char **argv)
{
	static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
	if (argc != 4)
		return 2;
	long slots = atol(argv[3]);
	size_t size = slots * sizeof(struct slot) + HISTOGRAM * sizeof(uint64_t);
	int fd = open(argv[2], O_RDWR | O_CREAT, 0644);
	if (fd < 0 || ftruncate(fd, size))
		return 111;
	char *map = mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return 111;
	struct slot *slot = (struct slot *)map;
	uint64_t *histogram = (uint64_t *)(map + slots * sizeof *slot);
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int one = 1, l = socket(AF_INET, SOCK_STREAM, 0);
	if (l < 0 || setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) || bind(l, (struct sockaddr *)&a, sizeof a) || listen(l, 4096))
		return 111;
	for (;;) {
		char request[4096];
		int c = accept(l, 0, 0);
		if (c < 0)
			continue;
		ssize_t n = read(c, request, sizeof request - 1);
		uint64_t t = now();
		if (n > 5 && !memcmp(request, "GET /", 5)) {
			request[n] = 0;
			long i = atol(request + 5);
			if (i >= 0 && i < slots) {
				struct slot *s = slot + i;
				if (s->count++) {
					uint64_t d = t - s->last, ms = d / 1000000;
					s->sum += d;
					if (d > s->longest)
						s->longest = d;
					histogram[ms < HISTOGRAM ? ms : HISTOGRAM - 1]++;
				}
				s->last = t;
			}
			if (write(c, reply, sizeof reply - 1) < 0) {
				/* it has gone */
			}
		}
		close(c);
	}
}
