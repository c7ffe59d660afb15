/* Stage 2's half of SCMP_ACT_NOTIFY: the filter's listener goes to `start` or `exec`, which sends it to the agent.
 *
 * The listener comes of the same call that puts us under the filter, and that may ask the agent about any call of ours:
 * whose answer would never come, as the agent doesn't have the listener yet. So instructions of ours stand before the
 * profile's: a call of the four with the secret in registers 5 and 6, which it doesn't use, passes. The program knows
 * the secret no more than it knows our memory, which execve takes away: 128 bits of the kernel's randomness. The
 * comparison takes as long for a wrong guess as for one that is nearly right, so time tells nothing about it. */
#include "stage2_calls.h"

#define LONGEST_FILTER 4096 /* BPF_MAXINSNS, linux/bpf_common.h */
#define PART(argument, half) \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[argument]) + 4 * (half)), \
    BPF_STMT(BPF_ALU | BPF_XOR | BPF_K, 0 /* the secret's part, in the same order */)
#define AND_THE_REST BPF_STMT(BPF_ALU | BPF_OR | BPF_X, 0)
#define KEEP BPF_STMT(BPF_MISC | BPF_TAX, 0)

static struct sock_filter guards[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sendmmsg, 3, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_readv, 2, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_writev, 1, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 16 /* to the profile's first instruction */),
    PART(4, 0), KEEP,
    PART(4, 1), AND_THE_REST, KEEP,
    PART(5, 0), AND_THE_REST, KEEP,
    PART(5, 1), AND_THE_REST,
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};
#define GUARDS (sizeof guards / sizeof *guards)
_Static_assert(GUARDS == 21, "features/seccomp/compiler.py leaves room for so many");

/* Put the guards before a program; features/seccomp/compiler.py has left room for them. */
static long guard(struct sock_fprog *program)
{
    static struct sock_filter both[LONGEST_FILTER];
    const uint32_t *part = (const uint32_t *)secret;
    unsigned long count = 0;
    if (program->len + GUARDS > LONGEST_FILTER)
        return -E2BIG;
    if (sys(SYS_getrandom, secret, sizeof secret, 0) != sizeof secret)
        return -EIO;
    for (; count < GUARDS; count++) {
        both[count] = guards[count];
        if (guards[count].code == (BPF_ALU | BPF_XOR | BPF_K))
            both[count].k = *part++;
    }
    for (unsigned long i = 0; i < program->len; i++)
        both[count++] = program->filter[i];
    program->filter = both;
    program->len = (unsigned short)count;
    return 0;
}

/* Give the listener to whoever reads our reports, unless that is done, and wait until the agent has it. Without that
 * there is to be no program. */
static void give_listener(struct filter *filter)
{
    char answer;
    struct iovec part = {&answer, 1};
    long size = offsetof(struct report, text);
    if (filter->listener < 0)
        return;
    report.kind = REPORT_LISTENER;
    report.size = report.said = 0;
    if (send_guarded(size, filter->listener) != size ||
        secretly(SYS_readv, reports_to, (long)&part, 1, 0) != 1)
        leave(1);
    filter->listener = -1;
}
