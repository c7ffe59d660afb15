/* Execute a program on a kernel that doesn't mount the procfs of another PID namespace: fsconfig(2) refuses to set an
 * option that is a descriptor, as it does for "pidns" before Linux 6.17.
 *
 *   before_6_17 COMMAND [ARGUMENT]... */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fsconfig, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])), /* little endian */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 5 /* FSCONFIG_SET_FD */, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct {
        unsigned short count;
        const void *filter;
    } program = {sizeof filter / sizeof *filter, filter};
    if (argc < 2 || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0)
        return 125;
    execvp(argv[1], argv + 1);
    return 125;
}
