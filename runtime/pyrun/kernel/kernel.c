/* The kernel, one function per system call and no policy: what kernel.h declares. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/mount.h>
#include <linux/netlink.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <termios.h>
#include <unistd.h>

#include "kernel.h"
#include "stage2_orders.h"

/* Debian 11's headers know every call that we make, but not mount_setattr (Linux 5.12). The number is the same on
 * every architecture that has the unified table (all since 2019). */
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif

static long result(long value) { return value == -1 ? -errno : value; }

/* processes and namespaces */

long k_clone3(unsigned long long flags, int cgroup_fd)
{
    struct clone_args args = {.flags = flags, .exit_signal = SIGCHLD};
    if (cgroup_fd >= 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (uint64_t)cgroup_fd;
    }
    if (flags & CLONE_PARENT)
        args.exit_signal = 0; /* the kernel takes the parent's, and refuses any other */
    return result(syscall(SYS_clone3, &args, sizeof args));
}

long k_unshare(unsigned long flags) { return result(syscall(SYS_unshare, flags)); }
long k_setns(int fd, int type) { return result(syscall(SYS_setns, fd, type)); }
long k_pidfd_open(int pid) { return result(syscall(SYS_pidfd_open, pid, 0)); }

long k_pidfd_send_signal(int pidfd, int signal)
{
    return result(syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0));
}

long k_execveat(int dirfd, const char *path, char **argv, char **envp, int flags)
{
    return result(syscall(SYS_execveat, dirfd, path, argv, envp, flags));
}

long k_prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)
{
    return result(prctl(option, a, b, c, d));
}

long k_raise_hard_limit(int pid, int resource, unsigned long long hard)
{
    struct { uint64_t soft, hard; } limit; /* the kernel's struct rlimit64 */
    long r = syscall(SYS_prlimit64, pid, resource, NULL, &limit);
    if (r == 0 && limit.hard < hard) {
        limit.hard = hard;
        r = syscall(SYS_prlimit64, pid, resource, &limit, NULL);
    }
    return result(r);
}

long k_all_cpus(void)
{
    unsigned char mask[1024]; /* for 8192 CPUs, which is as many as kernels are built for */
    memset(mask, 0xff, sizeof mask);
    return result(syscall(SYS_sched_setaffinity, 0, sizeof mask, mask));
}

long k_sched_setattr(int pid, const char *attributes)
{
    return result(syscall(SYS_sched_setattr, pid, attributes, 0));
}

long k_ioprio_set(int pid, int priority)
{
    return result(syscall(SYS_ioprio_set, 1 /* IOPRIO_WHO_PROCESS */, pid, priority));
}

long k_permitted_capabilities(unsigned long long *permitted)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    long r = result(syscall(SYS_capget, &header, data));
    if (r == 0)
        *permitted = (unsigned long long)data[1].permitted << 32 | data[0].permitted;
    return r;
}

long k_sethostname(const char *name, size_t size) { return result(syscall(SYS_sethostname, name, size)); }
long k_setdomainname(const char *name, size_t size) { return result(syscall(SYS_setdomainname, name, size)); }

long k_set_up_interface(const char *name)
{
    struct ifreq request = {.ifr_flags = IFF_UP};
    strncpy(request.ifr_name, name, sizeof request.ifr_name - 1);
    int any = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0); /* interfaces are configured by sockets of any kind */
    if (any < 0)
        return -errno;
    long done = result(ioctl(any, SIOCSIFFLAGS, &request));
    close(any);
    return done;
}

long k_join_session_keyring(const char *name)
{
    return result(syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name));
}

/* Does this kernel know flags of seccomp(2)? It looks at them before the program, which isn't there: EFAULT. */
long k_seccomp_knows(unsigned long flags)
{
    return result(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, NULL)) == -EFAULT;
}

/* signals */

static void to_sigset(unsigned long long mask, sigset_t *set)
{
    sigemptyset(set);
    for (int signal = 1; signal <= 64; signal++)
        if (mask >> (signal - 1) & 1)
            sigaddset(set, signal);
}

long k_signal_mask(unsigned long long mask)
{
    sigset_t set;
    to_sigset(mask, &set);
    return result(sigprocmask(SIG_SETMASK, &set, NULL));
}

long k_signalfd(unsigned long long mask)
{
    sigset_t set;
    to_sigset(mask, &set);
    return result(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

long k_default_signals(unsigned long long blocked)
{
    /* The kernel's struct sigaction, all zero: SIG_DFL. Not by sigaction(3), which refuses glibc's own two (32 and 33);
     * our caller may have left these ignored. SIGKILL and SIGSTOP refuse, as they should. */
    const unsigned long action[4] = {0};
    for (int signal = 1; signal <= 64; signal++)
        syscall(SYS_rt_sigaction, signal, action, NULL, sizeof(uint64_t));
    return k_signal_mask(blocked);
}

long k_own_signals(void)
{
    struct sigaction ignored = {.sa_handler = SIG_IGN}, reported = {.sa_handler = SIG_DFL};
    long r = result(sigaction(SIGPIPE, &ignored, NULL));
    if (r == 0)
        r = result(sigaction(SIGXFSZ, &ignored, NULL));
    return r < 0 ? r : result(sigaction(SIGCHLD, &reported, NULL));
}

/* mounts */

long k_open_tree(int dirfd, const char *path, unsigned int flags)
{
    return result(syscall(SYS_open_tree, dirfd, path, flags));
}

long k_move_mount(int from_fd, const char *from, int to_fd, const char *to, unsigned int flags)
{
    return result(syscall(SYS_move_mount, from_fd, from, to_fd, to, flags));
}

long k_fsopen(const char *type, unsigned int flags) { return result(syscall(SYS_fsopen, type, flags)); }

long k_fspick(int dirfd, const char *path, unsigned int flags)
{
    return result(syscall(SYS_fspick, dirfd, path, flags));
}

long k_fsconfig(int fd, unsigned int command, const char *key, const char *value, int aux)
{
    return result(syscall(SYS_fsconfig, fd, command, key, value, aux));
}

long k_fsmount(int fd, unsigned int flags, unsigned int attributes)
{
    return result(syscall(SYS_fsmount, fd, flags, attributes));
}

long k_mount_setattr(int fd, const char *path, unsigned int flags, unsigned long long set, unsigned long long clear,
                     unsigned long long propagation, int userns_fd)
{
    struct mount_attr attr = {.attr_set = set, .attr_clr = clear, .propagation = propagation,
                              .userns_fd = userns_fd < 0 ? 0 : (uint64_t)userns_fd};
    return result(syscall(SYS_mount_setattr, fd, path, flags, &attr, sizeof attr));
}

long k_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)
{
    return result(syscall(SYS_mount, source, target, type, flags, data));
}

long k_umount2(const char *target, int flags) { return result(syscall(SYS_umount2, target, flags)); }

long k_pivot_root(const char *new_root, const char *put_old)
{
    return result(syscall(SYS_pivot_root, new_root, put_old));
}

long k_statfs_type(int fd)
{
    struct statfs buffer;
    long r = result(fstatfs(fd, &buffer));
    return r < 0 ? r : (long)(unsigned int)buffer.f_type;
}

/* files */

long k_openat2(int dirfd, const char *path, unsigned long long flags, unsigned long long mode,
               unsigned long long resolve)
{
    struct open_how how = {.flags = flags, .mode = mode, .resolve = resolve};
    long r;
    int tries = 0;
    do /* a rename or mount elsewhere makes a scoped walk that meets ".." start anew (openat2(2)); who does nothing
        * else than rename must not keep us here */
        r = result(syscall(SYS_openat2, dirfd, path, &how, sizeof how));
    while (r == -EAGAIN && ++tries < 1000);
    return r;
}

long k_close_range(unsigned int first, unsigned int last, unsigned int flags)
{
    return result(syscall(SYS_close_range, first, last, flags));
}

long k_flock(int fd, int operation) { return result(syscall(SYS_flock, fd, operation)); }
long k_memfd_create(const char *name, unsigned int flags) { return result(syscall(SYS_memfd_create, name, flags)); }

long k_seal(int fd)
{
    return result(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE));
}

long k_poll(struct pollfd *fds, unsigned int count, int milliseconds)
{
    return result(poll(fds, count, milliseconds));
}

/* events */

long k_eventfd(void) { return result(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

long k_inotify(const char *path, unsigned int mask)
{
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd >= 0 && inotify_add_watch(fd, path, mask) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return result(fd);
}

/* sockets */

long k_socketpair(int *fds) { return result(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds)); }

static long named_socket(const char *path, struct sockaddr_un *address)
{
    address->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof address->sun_path)
        return -ENAMETOOLONG;
    strcpy(address->sun_path, path);
    return result(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

static long closing(long fd, long r)
{
    if (r < 0)
        close((int)fd);
    return r < 0 ? r : fd;
}

long k_listen(const char *path)
{
    struct sockaddr_un address = {0};
    long fd = named_socket(path, &address);
    if (fd < 0)
        return fd;
    long r = result(bind((int)fd, (struct sockaddr *)&address, sizeof address));
    return closing(fd, r < 0 ? r : result(listen((int)fd, 1)));
}

long k_connect(const char *path, unsigned int seconds)
{
    struct sockaddr_un address = {0};
    struct timeval limit = {.tv_sec = seconds};
    long fd = named_socket(path, &address);
    if (fd >= 0 && seconds)
        setsockopt((int)fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    return fd < 0 ? fd : closing(fd, result(connect((int)fd, (struct sockaddr *)&address, sizeof address)));
}

/* A SOCK_DGRAM socket bound to `path`, which never blocks; or connected to it: then "@..." is an abstract address. */
long k_datagram(const char *path, int listens)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path), name = offsetof(struct sockaddr_un, sun_path);
    if (length == 0 || length >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, length);
    if (!listens && *path == '@')
        *address.sun_path = 0;
    else
        length++;
    long fd = result(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | (listens ? SOCK_NONBLOCK : 0), 0));
    if (fd < 0)
        return fd;
    const struct sockaddr *at = (const struct sockaddr *)&address;
    socklen_t size = (socklen_t)(name + length);
    return closing(fd, result(listens ? bind((int)fd, at, size) : connect((int)fd, at, size)));
}

long k_netlink(void) { return result(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)); }

long k_send_fd(int sock, const char *data, size_t size, int fd)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec text = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    struct msghdr message = {.msg_iov = &text, .msg_iovlen = 1, .msg_control = control.space,
                             .msg_controllen = sizeof control.space};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    return result(sendmsg(sock, &message, MSG_NOSIGNAL));
}

/* What comes next, and the descriptor that it brings in *fd, or -1 if there is none. */
long k_receive(int sock, char *data, size_t size, int *fd)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec buffer = {.iov_base = data, .iov_len = size};
    struct msghdr message = {.msg_iov = &buffer, .msg_iovlen = 1, .msg_control = control.space,
                             .msg_controllen = sizeof control.space};
    long r = result(recvmsg(sock, &message, MSG_CMSG_CLOEXEC));
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    *fd = -1;
    if (r >= 0 && header && header->cmsg_type == SCM_RIGHTS)
        memcpy(fd, CMSG_DATA(header), sizeof *fd);
    return r;
}

#include "tty_calls.h"

#include "bpf_calls.h"
