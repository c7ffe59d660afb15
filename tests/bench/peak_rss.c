/* peak_rss FILE PROGRAM ARGUMENT...: run PROGRAM, write its peak resident set size in KiB into FILE.
 *
 * ru_maxrss survives execve, so a child of the Python interpreter that runs the bench would be charged with
 * the interpreter's memory.  This parent is smaller than any runtime. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	pid_t child = fork();
	if (child < 0)
		return 2;
	if (child == 0) {
		execv(argv[2], argv + 2);
		_exit(127);
	}
	int status;
	struct rusage usage;
	if (wait4(child, &status, 0, &usage) != child)
		return 2;
	FILE *file = fopen(argv[1], "w");
	if (file == NULL)
		return 2;
	fprintf(file, "%ld\n", usage.ru_maxrss);
	if (fclose(file) != 0)
		return 2;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
