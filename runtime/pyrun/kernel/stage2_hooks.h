/* Stage 2's hooks, startContainer's: executed in the container under its seccomp filter, with the state on stdin; what
 * they say on stderr is kept for the report. */
#include "stage2_identity.h"

static int64_t milliseconds(void)
{
    struct timespec now;
    sys(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void keep_last_words(int fd)
{
    if (report.size == LAST_WORDS) { /* full: forget the first half */
        for (uint32_t i = 0; i < LAST_WORDS / 2; i++)
            report.text[i] = report.text[LAST_WORDS / 2 + i];
        report.size = LAST_WORDS / 2;
    }
    long r = sys(SYS_read, fd, report.text + report.size, LAST_WORDS - report.size);
    if (r > 0)
        report.size += (uint32_t)r;
}

struct failure {
    long error;
    enum about about;
};

/* The filter is the hook's own, loaded as late as the program's: it needs to allow execve, and nothing of ours. */
static _Noreturn void be_hook(const char *path, char **argv, char **envp, const struct filter *filter, int failed)
{
    struct failure failure = {.about = SECCOMP};
    failure.error = load(filter);
    if (failure.error >= 0) {
        failure.about = HOOK;
        failure.error = sys(SYS_execve, path, argv, envp);
    }
    sys(SYS_write, failed, &failure, sizeof failure);
    leave(127);
}

static void run_hook(const char *path, char **argv, char **envp, const char *state, uint64_t size, int64_t seconds,
                     uint64_t index, const struct filter *filter)
{
    int in, out[2], failed[2], status = 0;
    must(in = (int)sys(SYS_memfd_create, "state", MFD_CLOEXEC), HOOK, index);
    must(sys(SYS_pwrite64, in, state, size, 0), HOOK, index);
    must(sys(SYS_pipe2, out, O_CLOEXEC | O_NONBLOCK), HOOK, index);
    must(sys(SYS_pipe2, failed, O_CLOEXEC), HOOK, index);
    long child = sys(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    must(child, HOOK, index);
    if (child == 0) {
        sys(SYS_dup3, in, 0, 0);
        sys(SYS_dup3, out[1], 1, 0);
        sys(SYS_dup3, out[1], 2, 0);
        sys(SYS_fcntl, 1, F_SETFL, 0);
        sys(SYS_chdir, "/"); /* not the program's cwd, which the image chooses */
        be_hook(path, argv, envp, filter, failed[1]);
    }
    sys(SYS_close, out[1]);
    sys(SYS_close, failed[1]);
    struct failure failure = {.about = HOOK};
    sys(SYS_read, failed[0], &failure, sizeof failure); /* end of file when it has been executed */

    struct pollfd fds[2] = {{.fd = (int)sys(SYS_pidfd_open, child, 0), .events = POLLIN},
                            {.fd = out[0], .events = POLLIN}};
    must(fds[0].fd, HOOK, index);
    int64_t end = milliseconds() + seconds * 1000;
    do {
        int64_t rest = end - milliseconds();
        if (seconds && rest <= 0) {
            sys(SYS_kill, child, SIGKILL);
            failure.error = -ETIMEDOUT;
            seconds = 0;
        }
        struct timespec left = {.tv_sec = rest / 1000, .tv_nsec = rest % 1000 * 1000000};
        fds[0].revents = fds[1].revents = 0;
        sys(SYS_ppoll, fds, 2, seconds ? &left : NULL, NULL, 0);
        if (fds[1].revents & POLLIN)
            keep_last_words(out[0]);
        else if (fds[1].revents)
            fds[1].fd = -1; /* closed at the other end */
    } while (!fds[0].revents);
    keep_last_words(out[0]);
    sys(SYS_wait4, child, &status, 0, 0);
    must(failure.error, failure.about, index);
    if (status) {
        tell(HOOK, index, -status);
        leave(1);
    }
    report.size = 0;
    sys(SYS_close, in);
    sys(SYS_close, out[0]);
    sys(SYS_close, failed[0]);
    sys(SYS_close, fds[0].fd);
}
