/* Stage 2: what must come last, in a process that holds nothing else.
 *
 * When the container's environment is made, its init executes this program out of a sealed memfd. It takes on the
 * program's user and capabilities, says "ready", waits until `start` connects, runs the startContainer hooks,
 * loads the seccomp filter and executes the user's program. So a created container holds a few pages instead of an
 * interpreter, /proc/1/exe is never the runtime (CVE-2019-5736), and the seccomp filter need not allow what an
 * interpreter needs.
 *
 * In: argv is the program's; envp is too, after a first entry that is the number of the fd with the orders
 *     (lifecycle/orders.py writes them and is the other half of this file: the order of reading is the format).
 * Out: one struct report on `sync` (while create listens), then on the connection that `start` makes; all on `sync`
 *      for a process of exec, which waits for nobody.
 *
 * Built with -static -nostdlib -ffreestanding where we know how to make a system call, and against libc elsewhere. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/socket.h>
#include <time.h>

#define CAP_SYS_ADMIN_BIT (1ULL << CAP_SYS_ADMIN)
#define LAST_WORDS 1024

/* What a report is about. The names of these are in lifecycle/orders.py, with the JSON path that each stands for. */
enum about { READY, GOING, INHERITABLE, BOUNDING, GROUPS, GID, UID, CAPABILITIES, AMBIENT,
             NO_NEW_PRIVILEGES, NOT_FOUND, WAITING, HOOK, SECCOMP, EXECUTE, ORDERS, LIMITS };

struct report {
    uint32_t about, index;
    int32_t error;  /* errno; for HOOK also minus the wait status */
    uint32_t size;  /* of the text that follows: a hook's last words */
    char text[LAST_WORDS];
};

/* System calls */

#if defined(__x86_64__)
static long sys6(long n, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    long r;
    __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return r;
}
__asm__(".globl _start\n_start: mov %rsp,%rdi\n and $-16,%rsp\n call begin\n hlt\n");
#elif defined(__aarch64__)
static long sys6(long n, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = n, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c,
                  x3 __asm__("x3") = d, x4 __asm__("x4") = e, x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}
__asm__(".globl _start\n_start: mov x0,sp\n bl begin\n");
#else
#define STAGE2_USES_LIBC
#include <unistd.h>
static long sys6(long n, long a, long b, long c, long d, long e, long f)
{
    long r = syscall(n, a, b, c, d, e, f);
    return r == -1 ? -errno : r;
}
#endif
#define sys(n, ...) SYS_(n, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define SYS_(n, a, b, c, d, e, f, ...) \
    sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

static _Noreturn void leave(int status)
{
    for (;;)
        sys(SYS_exit_group, status);
}

/* The orders: 64-bit numbers, and texts as a number (size with the NUL) and bytes padded to eight. */

static const uint64_t *orders;

static uint64_t number(void) { return *orders++; }

static const void *bytes(uint64_t *size)
{
    const void *start;
    *size = number();
    start = orders;
    orders += (*size + 7) / 8;
    return start;
}

static char *text(void)
{
    uint64_t size;
    return (char *)(uintptr_t)bytes(&size);
}

/* A NULL-terminated vector of texts; memory comes from the kernel and is never given back: execve does that. */
static char **texts(void)
{
    uint64_t count = number();
    char **vector = (char **)sys(SYS_mmap, 0, (count + 1) * sizeof *vector, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (uint64_t i = 0; i < count; i++)
        vector[i] = text();
    return vector; /* the page is zero, so the last entry is NULL */
}

/* Reports */

static int reports_to, started; /* started: `start` listens now, and answers */
static struct report report;

static void tell(enum about about, uint64_t index, long error)
{
    report.about = about;
    report.index = (uint32_t)index;
    report.error = (int32_t)error;
    if (sys(SYS_sendto, reports_to, &report, offsetof(struct report, text) + report.size, MSG_NOSIGNAL, 0, 0) < 0)
        leave(1); /* nobody listens any more: create or start was killed, and so there is to be no container */
}

#include "stage2_failing.h" /* must: tell, and end */

/* Hooks: executed in the container, with the state on stdin; what they say on stderr is kept for the report. */

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

static void run_hook(const char *path, char **argv, char **envp, const char *state, uint64_t size, int64_t seconds,
                     uint64_t index)
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
        long r = sys(SYS_execve, path, argv, envp);
        sys(SYS_write, failed[1], &r, sizeof r);
        leave(127);
    }
    sys(SYS_close, out[1]);
    sys(SYS_close, failed[1]);
    long failure = 0;
    sys(SYS_read, failed[0], &failure, sizeof failure); /* end of file when it has been executed */

    struct pollfd fds[2] = {{.fd = (int)sys(SYS_pidfd_open, child, 0), .events = POLLIN},
                            {.fd = out[0], .events = POLLIN}};
    must(fds[0].fd, HOOK, index);
    int64_t end = milliseconds() + seconds * 1000;
    do {
        int64_t rest = end - milliseconds();
        if (seconds && rest <= 0) {
            sys(SYS_kill, child, SIGKILL);
            failure = -ETIMEDOUT;
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
    must(failure, HOOK, index);
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

/* Resource limits, and credentials */

static void set_limits(void)
{
    uint64_t count = number();
    for (uint64_t i = 0; i < count; i++) {
        uint64_t resource = number(), soft = number(), hard = number();
        uint64_t limit[2] = {soft, hard};
        must(sys(SYS_prlimit64, 0, resource, limit, 0), LIMITS, i);
    }
}

static void set_capabilities(uint64_t effective, uint64_t permitted, uint64_t inheritable, enum about about)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {
        {(uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable},
        {(uint32_t)(effective >> 32), (uint32_t)(permitted >> 32), (uint32_t)(inheritable >> 32)}};
    must(sys(SYS_capset, &header, data), about, 0);
}

struct identity {
    uint64_t all, bounding, effective, permitted, inheritable, ambient; /* `all`: permitted as we are now */
    uint64_t no_new_privileges, seccomp;
};

static void become(const struct identity *id)
{
    /* Inheritable first: a capability can be made inheritable only while it is in the bounding set. */
    set_capabilities(id->all, id->all, id->inheritable, INHERITABLE);
    for (unsigned long cap = 0; cap < 64; cap++)
        if (!(id->bounding >> cap & 1)) {
            long r = sys(SYS_prctl, PR_CAPBSET_DROP, cap, 0, 0, 0);
            if (r == -EINVAL)
                break; /* past the kernel's last capability */
            must(r, BOUNDING, cap);
        }

    must(sys(SYS_prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0), CAPABILITIES, 0); /* until execve */
    uint64_t size, set_groups = number();
    const void *groups = bytes(&size);
    if (set_groups)
        must(sys(SYS_setgroups, size / sizeof(uint32_t), groups), GROUPS, 0);
    uint64_t gid = number(), uid = number();
    must(sys(SYS_setresgid, gid, gid, gid), GID, 0);
    must(sys(SYS_setresuid, uid, uid, uid), UID, 0);
    /* What the program may do after execve follows from its uid and the inheritable, bounding and ambient sets; what
     * is permitted until then only matters under no_new_privs. So keeping CAP_SYS_ADMIN up to execve, to load the
     * seccomp filter last, gives the program nothing. */
    uint64_t extra = id->seccomp && !id->no_new_privileges ? CAP_SYS_ADMIN_BIT & id->all : 0;
    set_capabilities(id->effective | extra, id->permitted | extra, id->inheritable, CAPABILITIES);
    for (unsigned long cap = 0; cap < 64; cap++)
        if (id->ambient >> cap & 1)
            must(sys(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0), AMBIENT, cap);
    if (id->no_new_privileges)
        must(sys(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), NO_NEW_PRIVILEGES, 0);
}

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

static _Noreturn void run(char **argv, char **envp)
{
    int fd = envp[0] ? to_number(envp[0]) : -1;
    envp++;
    /* Who lives in a PID namespace that we joined must not open our descriptors; the program's execve ends this. */
    sys(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
    uint64_t head[2]; /* size of the orders, fd of sync */
    if (sys(SYS_pread64, fd, head, sizeof head, 0) != sizeof head)
        leave(127); /* executed by the program itself, as /proc/self/exe */
    reports_to = (int)head[1];
    long map = sys(SYS_mmap, 0, head[0], PROT_READ, MAP_PRIVATE, fd, 0);
    must(map < 0 && map > -4096 ? map : 0, ORDERS, 0);
    orders = (const uint64_t *)map + 2;
    sys(SYS_close, fd);
    int sync = reports_to, waits_on = (int)number(), created = (int)number();
    close_on_exec(sync);
    close_on_exec(waits_on);
    close_on_exec(created);
    sys(SYS_prctl, PR_SET_NAME, "pyrun-init", 0, 0, 0);

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
    id.seccomp = number();
    become(&id);
    const char *program = find_program();

    sys(SYS_prctl, PR_SET_PDEATHSIG, 0, 0, 0, 0); /* create may end from here on; if it did already, telling fails */
    tell(READY, 0, 0);
    if (waits_on >= 0) { /* exec's process has no start to wait for: it goes on reporting where it is */
        sys(SYS_close, sync);
        long connection;
        char nothing;
        do {
            connection = sys(SYS_accept4, waits_on, 0, 0, SOCK_CLOEXEC);
            if (connection >= 0 &&
                sys(SYS_recvfrom, connection, &nothing, 1, MSG_PEEK | MSG_DONTWAIT, 0, 0) == 0) {
                sys(SYS_close, connection); /* that start was killed: wait for another */
                connection = -ECONNABORTED;
            }
        } while (connection == -EINTR || connection == -ECONNABORTED);
        if (connection < 0)
            leave(1);
        reports_to = (int)connection;
        started = 1;
    }

    uint64_t state_size;
    const char *state = bytes(&state_size);
    uint64_t hooks = number();
    for (uint64_t i = 0; i < hooks; i++) {
        int64_t seconds = (int64_t)number();
        const char *path = text();
        char **hook_argv = texts(), **hook_envp = texts();
        run_hook(path, hook_argv, hook_envp, state, state_size, seconds, i);
    }

    set_limits(); /* as late as this, so that we and the hooks aren't short of descriptors */
    tell(GOING, 0, 0);
    if (id.seccomp) {
        uint64_t size, flags = number();
        const void *filter = bytes(&size);
        struct { unsigned short count; const void *filter; } program_of_filter = {(unsigned short)(size / 8), filter};
        must(sys(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program_of_filter), SECCOMP, 0);
    }
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
