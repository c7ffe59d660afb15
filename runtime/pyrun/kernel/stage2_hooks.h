/* Stage 2's hooks, startContainer's: executed in the container under its seccomp filter, with the state on stdin; what
 * they say on stderr is kept for the report. */
#include "stage2_birth.h"
#include "stage2_plain.h"

static int64_t milliseconds(void)
{
    struct timespec now;
    sys(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void keep_last_words(int fd)
{
    if (said_size == LAST_WORDS) { /* full: forget the first half */
        for (uint32_t i = 0; i < LAST_WORDS / 2; i++)
            said[i] = said[LAST_WORDS / 2 + i];
        said_size = LAST_WORDS / 2;
    }
    long r = sys(SYS_read, fd, said + said_size, LAST_WORDS - said_size);
    if (r > 0)
        said_size += (uint32_t)r;
}

/* A NULL-terminated vector of `count` texts, which follow each other; memory comes from the kernel and is never given
 * back: execve does that. */
static char **vector_of(const char **texts, uint64_t count)
{
    char **vector = (char **)sys(SYS_mmap, 0, (count + 1) * sizeof *vector, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must((long)vector < 0 && (long)vector > -4096 ? (long)vector : 0, 0);
    for (uint64_t i = 0; i < count; i++) {
        vector[i] = (char *)*texts;
        while (*(*texts)++)
            ;
    }
    return vector; /* the page is zero, so the last entry is NULL */
}

/* The state that hooks are given, in a file. Our pid is written over what stands for it. */
static int state_for_hook(const struct order *state)
{
    int file = (int)sys(SYS_memfd_create, "state", MFD_CLOEXEC);
    must(file, 0);
    must(sys(SYS_pwrite64, file, data_of(state), data_size(state), 0), 0);
    if (state->numbers[0] != UINT64_MAX) {
        char pid[16];
        write_pid(pid, ' ');
        must(sys(SYS_pwrite64, file, pid, sizeof pid, state->numbers[0]), 0);
    }
    return file;
}

struct failure {
    long error;
    const struct order *order; /* by whose label it is reported */
};

/* The filter is the hook's own, loaded as late as the program's: it needs to allow execve, and nothing of ours. */
static _Noreturn void be_hook(const char *path, char **argv, char **envp, struct filter *filter, int failed)
{
    struct failure failure = {.order = filter->order};
    struct iovec part = {&failure, sizeof failure};
    failure.error = load(filter);
    if (failure.error >= 0) {
        give_listener(filter);
        failure.order = current;
        failure.error = sys(SYS_execve, path, argv, envp);
    }
    if (guarded)
        secretly(SYS_writev, failed, (long)&part, 1, 0);
    else
        sys(SYS_write, failed, &failure, sizeof failure);
    leave(127);
}

static void run_hook(const struct order *state, struct filter *filter)
{
    const char *texts = data_of(current), *path = texts;
    int64_t seconds = (int64_t)current->numbers[0];
    while (*texts++)
        ;
    char **argv = vector_of(&texts, current->numbers[1]), **envp = vector_of(&texts, current->numbers[2]);
    int in = state_for_hook(state), out[2], failed[2], status = 0;
    must(sys(SYS_pipe2, out, O_CLOEXEC | O_NONBLOCK), 0);
    must(sys(SYS_pipe2, failed, O_CLOEXEC), 0);
    long child = sys(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    must(child, 0);
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
    struct failure failure = {.order = current};
    sys(SYS_read, failed[0], &failure, sizeof failure); /* end of file when it has been executed */

    struct pollfd fds[2] = {{.fd = (int)sys(SYS_pidfd_open, child, 0), .events = POLLIN},
                            {.fd = out[0], .events = POLLIN}};
    must(fds[0].fd, 0);
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
    if (failure.error < 0)
        fail(failure.order, 0, -failure.error);
    if (status) {
        tell_label(REPORT_ENDED, current, (uint64_t)status, 0);
        leave(1);
    }
    said_size = 0;
    sys(SYS_close, in);
    sys(SYS_close, out[0]);
    sys(SYS_close, failed[0]);
    sys(SYS_close, fds[0].fd);
}
