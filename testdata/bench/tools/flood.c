/* flood: writes lines at full speed, one write(2) each, for so long.
 * flood SIZE MILLISECONDS RESULT
 * Then it writes "LINES NANOSECONDS" to RESULT and, as a service must not end,
 * sleeps for ever. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static long long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

int main(int argc, char **argv)
{
	static char line[1 << 16];
	if (argc != 4)
		return 2;
	size_t size = atol(argv[1]);
	long long limit = atoll(argv[2]) * 1000000ll, began = now(), took;
	if (size < 2 || size > sizeof line)
		return 2;
	memset(line, 'x', size);
	line[size - 1] = '\n';
	long lines = 0;
	do {
		for (int i = 0; i < 64; i++, lines++)
			if (write(1, line, size) != (ssize_t)size)
				return 111;
		took = now() - began;
	} while (took < limit);
	char temp[4096];
	snprintf(temp, sizeof temp, "%s.new", argv[3]);
	FILE *f = fopen(temp, "w");
	if (!f || fprintf(f, "%ld %lld\n", lines, took) < 0 || fclose(f) || rename(temp, argv[3]))
		return 111;
	close(1); /* what reads it sees the end */
	close(2);
	for (;;)
		pause();
}
