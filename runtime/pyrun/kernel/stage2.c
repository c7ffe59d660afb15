/* Stage 2: what must come last, in a process that holds nothing else.
 *
 * When the container's environment is made, its init executes this program out of a sealed memfd. It obeys a list of
 * orders (stage2_orders.h), which story/last.py writes: take on the program's user and capabilities, say "ready", wait
 * until `start` connects, run the startContainer hooks, load the seccomp filter and execute the user's program. So a
 * created container holds a few pages instead of an interpreter, /proc/1/exe is never the runtime (CVE-2019-5736), and
 * the seccomp filter need not allow what an interpreter needs.
 *
 * In: argv is the program's; envp is too, after a first entry that is the number of the fd with the orders. After a
 *     first entry "p" it is something else: stage2_procfs.h.
 * Out: one struct report on `sync` (while create listens), then on the connection that `start` makes; all on `sync`
 *      for a process of exec, which waits for nobody.
 *
 * Built with -static -nostdlib -ffreestanding where we know how to make a system call, and against libc elsewhere. */
#define _GNU_SOURCE
#include "stage2_calls.h"
#include "stage2_birth.h"
#include "stage2_check.h"
#include "stage2_hooks.h"
#include "stage2_plain.h"
#include "stage2_procfs.h"

/* The first of the order's paths (args[0] in each folder of PATH) that is a file and may be executed by this user; else
 * ENOENT, or EACCES if one was there but closed to us: execvp(3). */
static const char *find_program(void)
{
    const char *path = data_of(current), *end = path + data_size(current);
    int alone = count_texts(path, data_size(current)) == 1;
    long why = -ENOENT;
    for (; path < end; path++) {
        struct stat status;
        long r = sys(SYS_newfstatat, AT_FDCWD, path, &status, 0);
        if (r == 0 && (status.st_mode & S_IFMT) == S_IFDIR)
            r = alone ? -EISDIR : -EACCES;
        if (r == 0)
            r = sys(SYS_faccessat2, AT_FDCWD, path, 1 /* X_OK */, AT_EACCESS);
        if (r == 0 || r == -ENOSYS) /* Linux before 5.8: execve itself will tell */
            return path;
        if (r != -ENOENT && r != -ENOTDIR)
            why = r;
        while (*path)
            path++;
    }
    must(why, 0);
    return NULL;
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

/* What orders leave to later ones. */
struct found {
    const char *program;
    const struct order *state;
    struct filter filter;
};

static void hold_filter(struct filter *filter)
{
    filter->wanted = 1;
    filter->flags = current->numbers[0];
    filter->program = (const struct sock_filter *)data_of(current);
    filter->size = data_size(current);
    filter->order = current;
}

static void load_filter(struct filter *filter)
{
    long r = load(filter);
    if (r < 0)
        fail(filter->order, 0, -r);
}

static void load_early(struct filter *filter)
{
    if (filter->wanted && passes_all(filter)) {
        load_filter(filter);
        must(set_capabilities(current->numbers[0], current->numbers[1], current->numbers[2]), 0);
    }
}

static void say_ready_and_wait(void)
{
    close_on_exec((int)current->numbers[0]);
    close_on_exec((int)current->numbers[1]);
    tell(REPORT_READY, 0, 0);
    sys(SYS_close, reports_to);
    reports_to = wait_for_start((int)current->numbers[0]);
    started = 1;
}

static void obey(struct found *found, char **argv, char **envp)
{
    switch (kind_of(current)) {
    case ORDER_CALL: call(); break;
    case ORDER_CALL_EACH: call_each(); break;
    case ORDER_WRITE: write_text(); break;
    case ORDER_ENTER: enter(); break;
    case ORDER_INSIDE: be_inside(); break;
    case ORDER_FIND: found->program = find_program(); break;
    case ORDER_FILTER: hold_filter(&found->filter); break;
    case ORDER_EARLY: load_early(&found->filter); break;
    case ORDER_BIRTH: be_born(); break;
    case ORDER_LISTEN_PID: set_listen_pid(envp); break;
    case ORDER_WAIT: say_ready_and_wait(); break;
    case ORDER_STATE: found->state = current; break;
    case ORDER_HOOK:
        must(found->state ? 0 : -EINVAL, 0);
        run_hook(found->state, &found->filter);
        break;
    case ORDER_GOING: tell(REPORT_GOING, 0, 0); break;
    case ORDER_LOAD: load_filter(&found->filter); break;
    case ORDER_GIVE: give_listener(&found->filter); break;
    case ORDER_EXECUTE: must(sys(SYS_execve, found->program, argv, envp), 0); break;
    case ORDER_END: break; /* makes_sense lets none pass */
    }
}

static _Noreturn void run(char **argv, char **envp)
{
    struct found found = {.filter = {.listener = -1}};
    struct stat status;
    if (envp[0] && envp[0][0] == 'p' && !envp[0][1] && envp[1] && envp[2] && envp[3]) /* procfs_inside.py */
        open_procfs(to_number(envp[1]), to_number(envp[2]), to_number(envp[3]));
    int fd = envp[0] ? to_number(envp[0]) : -1;
    envp++;
    /* Who lives in a PID namespace that we joined must not open our descriptors; the program's execve ends this. */
    sys(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (sys(SYS_fstat, fd, &status) < 0 || status.st_size < 16 || status.st_size % 8)
        leave(127); /* executed by the program itself, as /proc/self/exe */
    long map = sys(SYS_mmap, 0, status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map < 0 && map > -4096)
        leave(127);
    sys(SYS_close, fd);
    const uint64_t *head = (const uint64_t *)map; /* size of the orders, fd of sync */
    const struct order *first = (const struct order *)(head + 2);
    reports_to = (int)head[1];
    orders_end = (const struct order *)(head + status.st_size / 8);
    close_on_exec(reports_to);
    sys(SYS_prctl, PR_SET_NAME, "pyrun-init", 0, 0, 0);
    int64_t nonsense = head[0] == (uint64_t)status.st_size ? first_nonsense(first) : 0;
    if (nonsense >= 0)
        fail(NULL, (uint64_t)nonsense, EINVAL);
    for (current = first; current < orders_end; current = after(current))
        obey(&found, argv, envp);
    fail(NULL, 0, ENOEXEC); /* the orders end without a program */
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
