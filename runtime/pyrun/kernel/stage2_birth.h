/* Stage 2's birth, for a process of exec, and of create where a PID namespace is joined: into the namespace, with the
 * program's rights alone. */
#ifndef STAGE2_BIRTH_H
#define STAGE2_BIRTH_H
#include "stage2_calls.h"

#include <sched.h>

/* We have joined the namespace, but that counts for children only: so it is a child that goes on, and a sibling of ours
 * since the runtime waits for it. In there nobody ever sees a process that has, or had, more than the program will. */
static void be_born(void)
{
    char go; /* who listens knows us then; else nobody would know of the program */
    long pid = sys(SYS_clone, CLONE_PARENT, 0, 0, 0, 0);
    must(pid, 0);
    if (pid > 0) {
        tell(REPORT_BORN, (uint64_t)pid, 0);
        leave(0);
    }
    if (sys(SYS_recvfrom, reports_to, &go, 1, 0, 0, 0) != 1)
        leave(1);
}

/* Our number in our own PID namespace, as the sixteen digits of UNBORN (story/last.py), with `filler` after it. */
static void write_pid(char *at, char filler)
{
    char digits[20];
    int count = 0;
    for (long pid = sys(SYS_getpid); pid; pid /= 10)
        digits[count++] = (char)('0' + pid % 10);
    for (int i = 0; i < 16; i++)
        at[i] = count ? digits[--count] : filler;
}

static void set_listen_pid(char **envp)
{
    static const char name[] = "LISTEN_PID=";
    for (; *envp; envp++) {
        unsigned long i = 0;
        while (name[i] && (*envp)[i] == name[i])
            i++;
        if (name[i])
            continue;
        char *end = *envp + i;
        while (*end)
            end++;
        if (end - *envp - (long)i >= 16)
            write_pid(*envp + i, 0);
    }
}
#endif
