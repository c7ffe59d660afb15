/* Stage 2's birth, for a process of exec, and of create where a PID namespace is joined: into the namespace, with the
 * program's rights alone. */
#include "stage2_calls.h"

#include <sched.h>
#include <sys/ioctl.h>

/* We have joined the namespace, but that counts for children only: so it is a child that goes on, and a sibling of ours
 * since the runtime waits for it. In there nobody ever sees a process that has, or had, more than the program will. */
static void be_born(void)
{
    uint64_t clones = number(), has_terminal = number(), count = number();
    const uint64_t *cgroups = orders;
    orders += count;
    if (clones) {
        long pid = sys(SYS_clone, CLONE_PARENT, 0, 0, 0, 0);
        must(pid, CLONE, 0);
        if (pid > 0) {
            tell(BORN, (uint64_t)pid, 0);
            leave(0);
        }
        char go; /* who listens knows us now; else nobody would know of the program */
        if (sys(SYS_recvfrom, reports_to, &go, 1, 0, 0, 0) != 1)
            leave(1);
    }
    sys(SYS_setsid);
    if (has_terminal)
        must(sys(SYS_ioctl, 0, TIOCSCTTY, 0), TERMINAL, 0);
    for (uint64_t i = 0; i < count; i++) { /* cgroup v1, by their files `tasks` */
        must(sys(SYS_write, cgroups[i], "0", 1), CGROUP, i);
        sys(SYS_close, cgroups[i]);
    }
}

/* Our number in our own PID namespace, over the sixteen digits of UNBORN (story/last.py), and `filler` after it. */
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
    const char name[] = "LISTEN_PID=";
    for (; *envp; envp++) {
        unsigned long i = 0;
        while (name[i] && (*envp)[i] == name[i])
            i++;
        if (!name[i])
            write_pid(*envp + i, 0);
    }
}
