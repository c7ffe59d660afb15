/* Stage 2's seccomp filter: when it is loaded, and with which right.
 *
 * Without no_new_privs that needs CAP_SYS_ADMIN, which the program mustn't have. It is kept until the filter is loaded,
 * directly before execve, only if the filter would refuse a call that we make before; else the filter is loaded at
 * once, and the capability is gone before anybody of the container's can see this process. */
#ifndef STAGE2_FILTER_H
#define STAGE2_FILTER_H
#include "stage2_calls.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <sched.h>
#include <sys/ioctl.h>

struct filter {
    uint64_t wanted, flags, size;
    const struct sock_filter *program;
};

static long load(const struct filter *filter)
{
    struct {
        unsigned short count;
        const void *filter;
    } program = {(unsigned short)(filter->size / sizeof *filter->program), filter->program};
    return filter->wanted ? sys(SYS_seccomp, SECCOMP_SET_MODE_FILTER, filter->flags, &program) : 0;
}

#if defined(__x86_64__)
#define OUR_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OUR_ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#define OUR_ARCHITECTURE 0 /* no filter lets a call of it pass */
#endif

/* All that we may call between the two moments. Arguments by which filters decide are named; others are unknown. */
static const struct call {
    int number, argument; /* which argument is known, -1 if none */
    uint64_t value;
} later[] = {
    {SYS_accept4, -1, 0}, {SYS_capset, -1, 0}, {SYS_chdir, -1, 0}, {SYS_clock_gettime, -1, 0},
    {SYS_clone, 0, SIGCHLD}, {SYS_clone, 0, CLONE_PARENT}, {SYS_close, -1, 0}, {SYS_dup3, -1, 0},
    {SYS_execve, -1, 0}, {SYS_exit_group, -1, 0}, {SYS_fcntl, -1, 0}, {SYS_getpid, -1, 0},
    {SYS_ioctl, 1, TIOCSCTTY}, {SYS_kill, -1, 0}, {SYS_memfd_create, -1, 0}, {SYS_mmap, -1, 0},
    {SYS_pidfd_open, -1, 0}, {SYS_pipe2, -1, 0}, {SYS_ppoll, -1, 0}, {SYS_prctl, -1, 0},
    {SYS_prlimit64, -1, 0}, {SYS_pwrite64, -1, 0}, {SYS_read, -1, 0}, {SYS_recvfrom, -1, 0},
    {SYS_rt_sigprocmask, -1, 0}, {SYS_sendto, -1, 0}, {SYS_setsid, -1, 0}, {SYS_signalfd4, -1, 0},
    {SYS_wait4, -1, 0}, {SYS_write, -1, 0},
};

/* A word of struct seccomp_data as the filter would load it; -1 for one that we don't know. */
static int64_t word(const struct call *call, uint32_t offset)
{
    if (offset == offsetof(struct seccomp_data, nr))
        return call->number;
    if (offset == offsetof(struct seccomp_data, arch))
        return OUR_ARCHITECTURE;
    uint64_t known = offsetof(struct seccomp_data, args) + 8 * (uint64_t)call->argument;
    if (call->argument < 0 || (offset != known && offset != known + 4))
        return -1;
    return (int64_t)((const uint32_t *)&call->value)[(offset - known) / 4];
}

/* Would the filter let a call pass? "No" also where it uses what isn't known here. */
static int passes(const struct filter *filter, const struct call *call)
{
    const struct sock_filter *i = filter->program, *end = i + filter->size / sizeof *i;
    uint32_t a = 0;
    int64_t loaded;
    for (; i < end; i++)
        switch (i->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            if ((loaded = word(call, i->k)) < 0)
                return 0;
            a = (uint32_t)loaded;
            break;
        case BPF_ALU | BPF_AND | BPF_K: a &= i->k; break;
        case BPF_JMP | BPF_JA: i += i->k; break;
        case BPF_JMP | BPF_JEQ | BPF_K: i += a == i->k ? i->jt : i->jf; break;
        case BPF_JMP | BPF_JGT | BPF_K: i += a > i->k ? i->jt : i->jf; break;
        case BPF_JMP | BPF_JGE | BPF_K: i += a >= i->k ? i->jt : i->jf; break;
        case BPF_JMP | BPF_JSET | BPF_K: i += a & i->k ? i->jt : i->jf; break;
        case BPF_RET | BPF_K: return i->k == SECCOMP_RET_ALLOW;
        default: return 0;
        }
    return 0;
}

static int passes_all(const struct filter *filter)
{
    for (unsigned long i = 0; i < sizeof later / sizeof *later; i++)
        if (!passes(filter, &later[i]))
            return 0;
    return 1;
}
#endif
