/* Stage 2: what must come last, in a process that holds nothing else.
 *
 * When the container's environment is made, its init executes this program out of a sealed memfd. It takes on the
 * program's user and capabilities, says "ready", waits until `start` connects, runs the startContainer hooks,
 * loads the seccomp filter and executes the user's program. So a created container holds a few pages instead of an
 * interpreter, /proc/1/exe is never the runtime (CVE-2019-5736), and the seccomp filter need not allow what an
 * interpreter needs.
 *
 * In: argv is the program's; envp is too, after a first entry that is the number of the fd with the orders
 *     (story/orders.py writes them and is the other half of this file: the order of reading is the format).
 *     After a first entry "p" it is something else: stage2_procfs.h.
 * Out: one struct report on `sync` (while create listens), then on the connection that `start` makes; all on `sync`
 *      for a process of exec, which waits for nobody.
 *
 * Built with -static -nostdlib -ffreestanding where we know how to make a system call, and against libc elsewhere. */
#define _GNU_SOURCE
#include "stage2_calls.h"
#include "stage2_birth.h"
#include "stage2_hooks.h"
#include "stage2_identity.h"
#include "stage2_procfs.h"

/* The first of the candidates (args[0] in each folder of PATH) that is a file and may be executed by this user;
 * else ENOENT, or EACCES if one was there but closed to us: execvp(3). */
static const char *find_program(void)
{
    const char *found = NULL;
    long why = -ENOENT;
    uint64_t count = number();
    for (uint64_t i = 0; i < count; i++) {
        const char *path = text();
        struct stat status;
        if (found)
            continue;
        long r = sys(SYS_newfstatat, AT_FDCWD, path, &status, 0);
        if (r == 0 && (status.st_mode & S_IFMT) == S_IFDIR)
            r = count == 1 ? -EISDIR : -EACCES;
        if (r == 0)
            r = sys(SYS_faccessat2, AT_FDCWD, path, 1 /* X_OK */, AT_EACCESS);
        if (r == -ENOSYS)
            r = 0; /* Linux before 5.8: execve itself will tell */
        if (r == 0)
            found = path;
        else if (r != -ENOENT && r != -ENOTDIR)
            why = r;
    }
    if (count && !found)
        must(why, NOT_FOUND, 0);
    return found;
}

static void close_on_exec(long fd) { sys(SYS_fcntl, fd, F_SETFD, FD_CLOEXEC); }

static int to_number(const char *digits)
{
    int value = 0;
    while (*digits)
        value = value * 10 + *digits++ - '0';
    return value;
}

/* As pid 1 we aren't ended by a signal without a handler, and whoever stops a created container waits for that. They
 * come to us blocked (story/last.py), and are read here. */
static _Noreturn void end_by(int signal)
{
    const uint64_t none = 0;
    long self = sys(SYS_getpid);
    sys(SYS_kill, self, signal);
    sys(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof none);
    leave(128 + signal); /* we are pid 1 */
}

/* The connection that a start makes. */
static int wait_for_start(int listening)
{
    uint64_t signals, none = 0;
    sys(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &signals, sizeof signals);
    struct pollfd fds[2] = {{.fd = listening, .events = POLLIN}, {.events = POLLIN}};
    fds[1].fd = (int)sys(SYS_signalfd4, -1, &signals, sizeof signals, SFD_CLOEXEC);
    long connection = -1;
    while (connection < 0) {
        struct signalfd_siginfo signal;
        char nothing;
        sys(SYS_ppoll, fds, 2, NULL, NULL, 0);
        if (fds[1].revents && sys(SYS_read, fds[1].fd, &signal, sizeof signal) == sizeof signal)
            end_by((int)signal.ssi_signo);
        if (!fds[0].revents)
            continue;
        connection = sys(SYS_accept4, listening, 0, 0, SOCK_CLOEXEC);
        if (connection < 0 && connection != -EINTR && connection != -ECONNABORTED)
            leave(1);
        if (connection >= 0 &&
            sys(SYS_recvfrom, connection, &nothing, 1, MSG_PEEK | MSG_DONTWAIT, 0, 0) == 0) {
            sys(SYS_close, connection); /* that start was killed: wait for another */
            connection = -1;
        }
    }
    sys(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof none);
    return (int)connection;
}

static _Noreturn void run(char **argv, char **envp)
{
    if (envp[0] && envp[0][0] == 'p' && !envp[0][1] && envp[1] && envp[2] && envp[3]) /* procfs_inside.py */
        open_procfs(to_number(envp[1]), to_number(envp[2]), to_number(envp[3]));
    int fd = envp[0] ? to_number(envp[0]) : -1;
    envp++;
    /* Who lives in a PID namespace that we joined must not open our descriptors; the program's execve ends this. */
    sys(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
    uint64_t head[2]; /* size of the orders, fd of sync */
    if (sys(SYS_pread64, fd, head, sizeof head, 0) != sizeof head)
        leave(127); /* executed by the program itself, as /proc/self/exe */
    reports_to = (int)head[1];
    long map = sys(SYS_mmap, 0, head[0], PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    must(map < 0 && map > -4096 ? map : 0, ORDERS, 0);
    orders = (uint64_t *)map + 2;
    sys(SYS_close, fd);
    int sync = reports_to, waits_on = (int)number(), created = (int)number();
    close_on_exec(sync);
    close_on_exec(waits_on);
    close_on_exec(created);
    sys(SYS_prctl, PR_SET_NAME, "pyrun-init", 0, 0, 0);

    set_labels();
    uint64_t umask = number();
    if (umask != UINT64_MAX)
        sys(SYS_umask, umask);

    struct identity id;
    id.all = number();
    id.bounding = number();
    id.effective = number();
    id.permitted = number();
    id.inheritable = number();
    id.ambient = number();
    id.no_new_privileges = number();
    struct filter filter = {.wanted = number()};
    if (filter.wanted) {
        filter.flags = number();
        filter.program = bytes(&filter.size);
    }
    uint64_t extra = become(&id, &filter);
    const char *program = find_program();
    if (extra && passes_all(&filter)) {
        must(load(&filter), SECCOMP, 0);
        filter.wanted = 0;
        set_capabilities(id.effective, id.permitted, id.inheritable, CAPABILITIES);
    }

    sys(SYS_prctl, PR_SET_PDEATHSIG, 0, 0, 0, 0); /* create may end from here on; if it did already, telling fails */
    if (number()) {
        be_born();
        if (number())
            set_listen_pid(envp);
    }
    if (waits_on >= 0) {
        tell(READY, 0, 0);
        sys(SYS_close, sync);
        reports_to = wait_for_start(waits_on);
        started = 1;
    }

    uint64_t state_size;
    char *state = bytes(&state_size);
    uint64_t pid_at = number();
    if (pid_at != UINT64_MAX)
        write_pid(state + pid_at, ' ');
    uint64_t hooks = number();
    for (uint64_t i = 0; i < hooks; i++) {
        int64_t seconds = (int64_t)number();
        const char *path = text();
        char **hook_argv = texts(), **hook_envp = texts();
        run_hook(path, hook_argv, hook_envp, state, state_size, seconds, i, &filter);
    }

    set_limits(); /* as late as this, so that we and the hooks aren't short of descriptors */
    tell(GOING, 0, 0);
    must(load(&filter), SECCOMP, 0);
    must(sys(SYS_execve, program, argv, envp), EXECUTE, 0);
    leave(1);
}

#ifdef STAGE2_USES_LIBC
int main(int argc, char **argv, char **envp)
{
    (void)argc;
    run(argv, envp);
}
#else
_Noreturn void begin(long *stack);
_Noreturn void begin(long *stack) { run((char **)(stack + 1), (char **)(stack + 1) + stack[0] + 1); }
#endif
