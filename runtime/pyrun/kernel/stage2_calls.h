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
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

#include "stage2_orders.h"

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
/* sys(n, a, ...) with up to six arguments; those that aren't given are 0. With few it is a function, so that text and
 * constants fit into two pages, of which each created container has a share. */
static __attribute__((noinline)) long sys1(long n, long a) { return sys6(n, a, 0, 0, 0, 0, 0); }
static __attribute__((noinline)) long sys3(long n, long a, long b, long c) { return sys6(n, a, b, c, 0, 0, 0); }
static __attribute__((noinline)) long sys4(long n, long a, long b, long c, long d)
{
    return sys6(n, a, b, c, d, 0, 0);
}
#define sys(...) SYS_(COUNT(__VA_ARGS__, 7, 6, 5, 4, 3, 2, 1, 0), __VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define COUNT(n, a, b, c, d, e, f, count, ...) count
#define SYS_(count, n, a, b, c, d, e, f, ...)                                     \
    ((count) <= 2   ? sys1(n, (long)(a))                                          \
     : (count) <= 4 ? sys3(n, (long)(a), (long)(b), (long)(c))                    \
     : (count) == 5 ? sys4(n, (long)(a), (long)(b), (long)(c), (long)(d))         \
                    : sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f)))

/* A filter that asks an agent may ask it about our own calls, too, by which the agent is only to get the listener. So
 * such a filter is guarded (stage2_listener.h): it lets four calls pass, sendmmsg, readv, writev and exit_group, if two
 * registers that they don't use hold this secret. */
static uint64_t secret[2];
static int guarded; /* we are under such a filter */

static __attribute__((noinline)) long secretly(long n, long a, long b, long c, long d)
{
    return sys6(n, a, b, c, d, (long)secret[0], (long)secret[1]);
}

/* A seccomp filter may refuse the one call and the other; no filter keeps a process from a fault, which ends pid 1
 * too. */
static _Noreturn void leave(int status)
{
    secretly(SYS_exit_group, status, 0, 0, 0);
    sys(SYS_exit, status);
    for (;;)
        __builtin_trap();
}

/* Orders, as stage2_orders.h has them */

struct order {
    uint64_t kind, sizes, numbers[];
};

static enum order_kind kind_of(const struct order *order) { return (enum order_kind)(order->kind >> 32); }
static uint64_t count_of(const struct order *order) { return (uint32_t)order->kind; }
static uint64_t label_size(const struct order *order) { return order->sizes >> 32; }
static uint64_t data_size(const struct order *order) { return (uint32_t)order->sizes; }

static const char *label_of(const struct order *order)
{
    return (const char *)(order->numbers + count_of(order));
}

static const char *data_of(const struct order *order) { return label_of(order) + ((label_size(order) + 7) & ~7ULL); }

/* In 64-bit numbers; all four parts have less than 2^32. */
static uint64_t length_of(const struct order *order)
{
    return 2 + count_of(order) + (label_size(order) + 7) / 8 + (data_size(order) + 7) / 8;
}

static const struct order *after(const struct order *order)
{
    return (const struct order *)((const uint64_t *)order + length_of(order));
}

static const struct order *current; /* the order that is obeyed */
static const struct order *orders_end;

/* Reports */

struct report {
    uint32_t kind, number;
    int32_t error;
    uint32_t size, said; /* of the text; of its end, which is what a hook said */
    char text[LONGEST_LABEL + LAST_WORDS];
};
_Static_assert(offsetof(struct report, text) == REPORT_HEAD, "story/orders.py counts on it");

static int reports_to, started; /* started: `start` listens now, and answers */
static struct report report;
static char said[LAST_WORDS];
static uint32_t said_size;

/* The report by a call that a guarded filter lets pass, with a descriptor if there is one (-1: none). */
static long send_guarded(long size, int fd)
{
    static union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    static struct mmsghdr message;
    struct iovec part = {&report, (unsigned long)size};
    message.msg_hdr.msg_iov = &part;
    message.msg_hdr.msg_iovlen = 1;
    if (fd >= 0) {
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof fd);
        *(int *)CMSG_DATA(&control.header) = fd;
    }
    message.msg_hdr.msg_control = fd >= 0 ? control.space : NULL;
    message.msg_hdr.msg_controllen = fd >= 0 ? sizeof control.space : 0;
    long r = secretly(SYS_sendmmsg, reports_to, (long)&message, 1, MSG_NOSIGNAL);
    return r == 1 ? (long)message.msg_len : r;
}

static void tell(enum report_kind kind, uint64_t number, long error)
{
    report.kind = kind;
    report.number = (uint32_t)number;
    report.error = (int32_t)error;
    long size = (long)(offsetof(struct report, text) + report.size);
    long r = guarded ? send_guarded(size, -1) : sys(SYS_sendto, reports_to, &report, size, MSG_NOSIGNAL, 0, 0);
    if (r != size && r != -EPIPE && r != -ECONNRESET) /* refused by the filter, which may let another call pass */
        r = sys(SYS_write, reports_to, &report, size);
    if (r != size)
        leave(1); /* nobody listens any more: create or start was killed, and so there is to be no container */
}

#include "stage2_failing.h" /* must: tell, and end */
#endif
