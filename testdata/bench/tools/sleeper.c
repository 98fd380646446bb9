/* sleeper: what every peer supervises. sleeper FILE INDEX
 * As its first act it stamps its 64-byte record in FILE, so that latencies end
 * at the service's own first instruction and not where a driver polls; then it
 * sleeps for ever.
 * record: u64 start_ns (CLOCK_MONOTONIC); u32 pid; u32 generation; pad */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct record { uint64_t start; uint32_t pid, generation; uint64_t pad[6]; };

int main(int argc, char **argv)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	if (argc != 3)
		return 2;
	off_t at = (off_t)atoi(argv[2]) * (off_t)sizeof(struct record);
	int fd = open(argv[1], O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return 111;
	struct record r;
	if (pread(fd, &r, sizeof r, at) != sizeof r)
		memset(&r, 0, sizeof r);
	r.start = t.tv_sec * 1000000000ull + t.tv_nsec;
	r.pid = getpid();
	r.generation++;
	if (pwrite(fd, &r, sizeof r, at) != sizeof r)
		return 111;
	close(fd);
	for (;;)
		pause();
}
