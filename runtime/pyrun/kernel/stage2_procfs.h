/* A mode of stage 2's program: what shows a PID namespace that is joined by path, on Linux before 6.17.
 *
 * fsopen(2) takes the PID namespace of who calls it. So somebody must be born in there, among those who may have
 * CAP_SYS_PTRACE, which looks into every process. This one has nothing to be taken: no right but over a user namespace
 * of its own, an empty root, one socket, and a seccomp filter that lets pass what it does here. The runtime, which stays
 * outside, gets the contexts, makes procfs of them and mounts it. */
#include "stage2_plain.h"

#include <linux/mount.h>

/* Ends us, outside still, with the errno: then the runtime knows that it can't be done this way. */
static long step(long result)
{
    if (result < 0)
        leave((int)-result);
    return result;
}

#ifdef STAGE2_USES_LIBC
static _Noreturn void open_procfs(int namespace, int sock, int count)
{
    (void)namespace, (void)sock, (void)count;
    leave(ENOSYS); /* our filter knows no such machine */
}
#else
/* The root folder of our mount namespace becomes an empty one that can't be written to, and all else is gone. */
static void empty_root(void)
{
    long context = step(sys(SYS_fsopen, "tmpfs", 0));
    step(sys(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, 0, 0, 0));
    long root = step(sys(SYS_fsmount, context, 0, MOUNT_ATTR_RDONLY));
    step(sys(SYS_move_mount, root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH));
    step(sys(SYS_fchdir, root));
    step(sys(SYS_pivot_root, ".", "."));
    step(sys(SYS_umount2, ".", 2 /* MNT_DETACH */));
    step(sys(SYS_chdir, "/"));
    sys(SYS_close, root);
    sys(SYS_close, context);
}

/* Nothing but CAP_SYS_ADMIN over our own user namespace, which fsopen asks for, and the calls that are left to make. */
static void give_up_rights(void)
{
    static const struct sock_filter ours[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OUR_ARCHITECTURE, 0, 6),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 5, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_wait4, 4, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fsopen, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sendmsg, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct filter filter = {.wanted = 1, .size = sizeof ours, .program = ours};
    for (long cap = 0, r = 0; r != -EINVAL; cap++) { /* EINVAL: past the kernel's last capability */
        r = sys(SYS_prctl, PR_CAPBSET_DROP, cap, 0, 0, 0);
        step(r == -EINVAL ? 0 : r);
    }
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{CAP_SYS_ADMIN_BIT, CAP_SYS_ADMIN_BIT, 0}};
    step(sys(SYS_capset, &header, data));
    step(sys(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    step(sys(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0)); /* a change of rights may have ended it (fs.suid_dumpable) */
    step(load(&filter));
}

static void send_descriptor(int sock, int fd)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    char byte = 'P';
    struct iovec text = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &text, .msg_iovlen = 1, .msg_control = control.space,
                             .msg_controllen = sizeof control.space};
    *(int *)(void *)CMSG_DATA(&control.header) = fd;
    sys(SYS_sendmsg, sock, &message, MSG_NOSIGNAL);
}

/* `count` contexts of procfs for who is at the other end of `sock`. Once a process is to be born inside, ending with 0
 * means that there is no other way: whoever is in there must not be able to choose one. */
static _Noreturn void open_procfs(int namespace, int sock, int count)
{
    step(sys(SYS_setns, namespace, CLONE_NEWPID));
    sys(SYS_close, namespace);
    step(sys(SYS_unshare, CLONE_NEWUSER | CLONE_NEWNS)); /* after setns, which asks for rights that end with this */
    empty_root();
    give_up_rights();
    long pid = sys(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid > 0)
        sys(SYS_wait4, pid, NULL, 0, NULL);
    for (int i = 0; pid == 0 && i < count; i++) {
        long context = sys(SYS_fsopen, "proc", FSOPEN_CLOEXEC);
        if (context < 0)
            break;
        send_descriptor(sock, (int)context);
    }
    leave(0);
}
#endif
