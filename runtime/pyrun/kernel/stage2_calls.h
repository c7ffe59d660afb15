/* Stage 2's ground: system calls without a C library, the orders that it reads, and the reports that it sends. */
#ifndef STAGE2_CALLS_H
#define STAGE2_CALLS_H
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
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#define LAST_WORDS 1024

/* What a report is about. The names of these are in story/orders.py, with the JSON path that each stands for. */
enum about { READY, GOING, INHERITABLE, BOUNDING, GROUPS, GID, UID, CAPABILITIES, AMBIENT,
             NO_NEW_PRIVILEGES, NOT_FOUND, WAITING, HOOK, SECCOMP, EXECUTE, ORDERS, LIMITS,
             BORN, CLONE, TERMINAL, CGROUP, APPARMOR, SELINUX, CWD, OUTSIDE };

struct report {
    uint32_t about, index;
    int32_t error;  /* errno; for HOOK also minus the wait status */
    uint32_t size;  /* of the text that follows: a hook's last words, a label */
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

/* A seccomp filter may refuse the one call and the other; no filter keeps a process from a fault, which ends pid 1
 * too. */
static _Noreturn void leave(int status)
{
    sys(SYS_exit_group, status);
    sys(SYS_exit, status);
    for (;;)
        __builtin_trap();
}

/* The orders: 64-bit numbers, and texts as a number (size with the NUL) and bytes padded to eight. */

static uint64_t *orders;

static uint64_t number(void) { return *orders++; }

static void *bytes(uint64_t *size)
{
    void *start;
    *size = number();
    start = orders;
    orders += (*size + 7) / 8;
    return start;
}

static char *text(void)
{
    uint64_t size;
    return bytes(&size);
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
    long size = (long)(offsetof(struct report, text) + report.size);
    long r = sys(SYS_sendto, reports_to, &report, size, MSG_NOSIGNAL, 0, 0);
    if (r != size && r != -EPIPE && r != -ECONNRESET) /* refused by the filter, which may let another call pass */
        r = sys(SYS_write, reports_to, &report, size);
    if (r != size)
        leave(1); /* nobody listens any more: create or start was killed, and so there is to be no container */
}

#include "stage2_failing.h" /* must: tell, and end */
#endif
