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

struct filter {
    uint64_t wanted, flags, size;
    const struct sock_filter *program;
    const struct order *order; /* that brought it: by its label a failure is reported */
    int listener;              /* for a seccomp agent who doesn't have it yet; else -1 */
};

#include "stage2_listener.h"

static long load(struct filter *filter)
{
    struct sock_fprog program = {(unsigned short)(filter->size / sizeof *filter->program),
                                 (struct sock_filter *)filter->program};
    int listens = filter->flags & SECCOMP_FILTER_FLAG_NEW_LISTENER ? 1 : 0;
    if (!filter->wanted)
        return 0;
    long r = listens ? guard(&program) : 0;
    if (r >= 0)
        r = sys(SYS_seccomp, SECCOMP_SET_MODE_FILTER, filter->flags, &program);
    if (r >= 0) {
        filter->wanted = 0;
        guarded = listens;
        filter->listener = listens ? (int)r : -1;
    }
    return r;
}

#if defined(__x86_64__)
#define OUR_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OUR_ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#define OUR_ARCHITECTURE 0 /* no filter lets a call of it pass */
#endif

/* A call of which some arguments are known: bit N of `known` is for the argument N. */
struct call {
    uint64_t number, known;
    const uint64_t *arguments;
};

/* All that we may call after the filter is loaded early, beside what orders name. */
static const unsigned short later[] = {
    SYS_accept4, SYS_capset, SYS_chdir, SYS_clock_gettime, SYS_close, SYS_dup3, SYS_execve, SYS_exit_group, SYS_fcntl,
    SYS_getpid, SYS_kill, SYS_memfd_create, SYS_mmap, SYS_openat, SYS_pidfd_open, SYS_pipe2, SYS_ppoll, SYS_pwrite64,
    SYS_read, SYS_recvfrom, SYS_rt_sigprocmask, SYS_sendto, SYS_signalfd4, SYS_wait4, SYS_write,
};
static const uint64_t clones[] = {SIGCHLD, CLONE_PARENT}; /* by which filters tell new namespaces */

/* A word of struct seccomp_data as the filter would load it; -1 for one that we don't know. */
static int64_t word(const struct call *call, uint32_t offset)
{
    if (offset == offsetof(struct seccomp_data, nr))
        return (int64_t)(uint32_t)call->number;
    if (offset == offsetof(struct seccomp_data, arch))
        return OUR_ARCHITECTURE;
    uint32_t at = offset - offsetof(struct seccomp_data, args);
    if (at % 4 || at >= 48 || !(call->known >> at / 8 & 1))
        return -1;
    return (int64_t)((const uint32_t *)call->arguments)[at / 4];
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

/* Would it let all pass that we do from the current order on? */
static int passes_all(const struct filter *filter)
{
    for (unsigned long i = 0; i < sizeof later / sizeof *later; i++)
        if (!passes(filter, &(struct call){.number = later[i]}))
            return 0;
    for (unsigned long i = 0; i < sizeof clones / sizeof *clones; i++)
        if (!passes(filter, &(struct call){SYS_clone, 1, &clones[i]}))
            return 0;
    for (const struct order *order = current; order < orders_end; order = after(order)) {
        const uint64_t *numbers = order->numbers;
        struct call call = {.number = numbers[0]};
        if (kind_of(order) == ORDER_CALL) {
            call.known = ~numbers[1] & ((1u << (count_of(order) - 2)) - 1);
            call.arguments = numbers + 2;
        } else if (kind_of(order) == ORDER_CALL_EACH) {
            call.number = numbers[1];
        } else {
            continue;
        }
        if (!passes(filter, &call))
            return 0;
    }
    return 1;
}
#endif
