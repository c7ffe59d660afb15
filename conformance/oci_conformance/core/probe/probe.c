/* The program that the suite runs inside containers: it tells what it sees and what it may do, as JSON.
 *
 * Each argument is one command line; words are separated by single spaces. Each command prints one line,
 * {"command": the line, "result": …} or {"command": …, "errno": "ENOENT"}, with one write(2), so that lines of several
 * probes appended to one file never mix. `serve` reads further command lines from standard input. The table at the
 * end lists all commands.
 *
 * It must work wherever a runtime may put it: without /proc and /dev, as any user, on a read-only root, under seccomp
 * profiles, with descriptors 0 to 2 closed, as process 1. So it is one static file, uses plain system calls, and opens
 * nothing that a command doesn't need. Exit code: 0, or 125 if a command was unknown or lacked a word. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define COUNT(table) (sizeof(table) / sizeof *(table))
#define MAX_WORDS 64
#define READ_LIMIT (64 << 10) /* bytes that `read` and `exec` show */
#define LAST_FD 65536         /* descriptors looked at where /proc doesn't list them */
#define LAST_SIGNAL 64
#define TRY_SECONDS 10        /* a tried system call that hangs is ended by SIGALRM */
#define PROC_MAGIC 0x9fa0
#define TIME_NAMESPACE 0x80   /* CLONE_NEWTIME */
#define KEYRING_ID 0          /* KEYCTL_GET_KEYRING_ID, KEYCTL_DESCRIBE, KEY_SPEC_SESSION_KEYRING */
#define KEYRING_DESCRIBE 6
#define SESSION_KEYRING (-3)

struct named {
    const char *name;
    unsigned long long value;
};

#define E(name) [name] = #name,
static const char *const errors[] = {
    E(EPERM) E(ENOENT) E(ESRCH) E(EINTR) E(EIO) E(ENXIO) E(E2BIG) E(ENOEXEC) E(EBADF) E(ECHILD) E(EAGAIN)
    E(ENOMEM) E(EACCES) E(EFAULT) E(ENOTBLK) E(EBUSY) E(EEXIST) E(EXDEV) E(ENODEV) E(ENOTDIR) E(EISDIR)
    E(EINVAL) E(ENFILE) E(EMFILE) E(ENOTTY) E(ETXTBSY) E(EFBIG) E(ENOSPC) E(ESPIPE) E(EROFS) E(EMLINK) E(EPIPE)
    E(EDOM) E(ERANGE) E(EDEADLK) E(ENAMETOOLONG) E(ENOLCK) E(ENOSYS) E(ENOTEMPTY) E(ELOOP) E(ENOMSG) E(EIDRM)
    E(ECHRNG) E(EL2NSYNC) E(EL3HLT) E(EL3RST) E(ELNRNG) E(EUNATCH) E(ENOCSI) E(EL2HLT) E(EBADE) E(EBADR)
    E(EXFULL) E(ENOANO) E(EBADRQC) E(EBADSLT) E(EBFONT) E(ENOSTR) E(ENODATA) E(ETIME) E(ENOSR) E(ENONET)
    E(ENOPKG) E(EREMOTE) E(ENOLINK) E(EADV) E(ESRMNT) E(ECOMM) E(EPROTO) E(EMULTIHOP) E(EDOTDOT) E(EBADMSG)
    E(EOVERFLOW) E(ENOTUNIQ) E(EBADFD) E(EREMCHG) E(ELIBACC) E(ELIBBAD) E(ELIBSCN) E(ELIBMAX) E(ELIBEXEC)
    E(EILSEQ) E(ERESTART) E(ESTRPIPE) E(EUSERS) E(ENOTSOCK) E(EDESTADDRREQ) E(EMSGSIZE) E(EPROTOTYPE)
    E(ENOPROTOOPT) E(EPROTONOSUPPORT) E(ESOCKTNOSUPPORT) E(EOPNOTSUPP) E(EPFNOSUPPORT) E(EAFNOSUPPORT)
    E(EADDRINUSE) E(EADDRNOTAVAIL) E(ENETDOWN) E(ENETUNREACH) E(ENETRESET) E(ECONNABORTED) E(ECONNRESET)
    E(ENOBUFS) E(EISCONN) E(ENOTCONN) E(ESHUTDOWN) E(ETOOMANYREFS) E(ETIMEDOUT) E(ECONNREFUSED) E(EHOSTDOWN)
    E(EHOSTUNREACH) E(EALREADY) E(EINPROGRESS) E(ESTALE) E(EUCLEAN) E(ENOTNAM) E(ENAVAIL) E(EISNAM) E(EREMOTEIO)
    E(EDQUOT) E(ENOMEDIUM) E(EMEDIUMTYPE) E(ECANCELED) E(ENOKEY) E(EKEYEXPIRED) E(EKEYREVOKED) E(EKEYREJECTED)
    E(EOWNERDEAD) E(ENOTRECOVERABLE) E(ERFKILL) E(EHWPOISON)};

static const char *const capabilities[] = {
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE"};

static const char *const signals[] = {
    "0", "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
    "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF",
    "WINCH", "IO", "PWR", "SYS"};

static const char *const limits[] = {
    "CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS", "LOCKS", "SIGPENDING",
    "MSGQUEUE", "NICE", "RTPRIO", "RTTIME"};

static const char *const policies[] = {
    "SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_ISO", "SCHED_IDLE", "SCHED_DEADLINE", "SCHED_EXT"};

static const struct named sched_flags[] = {
    {"SCHED_FLAG_RESET_ON_FORK", 1}, {"SCHED_FLAG_RECLAIM", 2}, {"SCHED_FLAG_DL_OVERRUN", 4},
    {"SCHED_FLAG_KEEP_POLICY", 8}, {"SCHED_FLAG_KEEP_PARAMS", 16}, {"SCHED_FLAG_UTIL_CLAMP_MIN", 32},
    {"SCHED_FLAG_UTIL_CLAMP_MAX", 64}, {0}};

static const char *const io_classes[] = {
    "IOPRIO_CLASS_NONE", "IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"};

static const char *const memory_modes[] = {
    "MPOL_DEFAULT", "MPOL_PREFERRED", "MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_LOCAL", "MPOL_PREFERRED_MANY",
    "MPOL_WEIGHTED_INTERLEAVE"};

static const struct named memory_flags[] = {
    {"MPOL_F_NUMA_BALANCING", 1 << 13}, {"MPOL_F_RELATIVE_NODES", 1 << 14}, {"MPOL_F_STATIC_NODES", 1 << 15}, {0}};

static const struct named statfs_flags[] = {
    {"ro", 1}, {"nosuid", 2}, {"nodev", 4}, {"noexec", 8}, {"sync", 16}, {"mand", 64}, {"noatime", 1024},
    {"nodiratime", 2048}, {"relatime", 4096}, {"nosymfollow", 8192}, {0}};

static const struct named mount_flags[] = {
    {"ro", MS_RDONLY}, {"nosuid", MS_NOSUID}, {"nodev", MS_NODEV}, {"noexec", MS_NOEXEC}, {"sync", MS_SYNCHRONOUS},
    {"remount", MS_REMOUNT}, {"mand", MS_MANDLOCK}, {"dirsync", MS_DIRSYNC}, {"nosymfollow", 256},
    {"noatime", MS_NOATIME}, {"nodiratime", MS_NODIRATIME}, {"relatime", MS_RELATIME}, {"strictatime", MS_STRICTATIME},
    {"lazytime", MS_LAZYTIME}, {"silent", MS_SILENT}, {"move", MS_MOVE}, {"rec", MS_REC}, {"bind", MS_BIND},
    {"unbindable", MS_UNBINDABLE}, {"private", MS_PRIVATE}, {"slave", MS_SLAVE}, {"shared", MS_SHARED},
    {"rbind", MS_BIND | MS_REC}, {"runbindable", MS_UNBINDABLE | MS_REC}, {"rprivate", MS_PRIVATE | MS_REC},
    {"rslave", MS_SLAVE | MS_REC}, {"rshared", MS_SHARED | MS_REC}, {0}};

static const struct named umount_flags[] = {{"force", 1}, {"detach", 2}, {"expire", 4}, {"nofollow", 8}, {0}};

static const struct named open_flags[] = {
    {"r", O_RDONLY}, {"w", O_WRONLY}, {"rw", O_RDWR}, {"dir", O_DIRECTORY}, {"path", O_PATH},
    {"nofollow", O_NOFOLLOW}, {0}};

static const struct named namespaces[] = {
    {"cgroup", CLONE_NEWCGROUP}, {"ipc", CLONE_NEWIPC}, {"mnt", CLONE_NEWNS}, {"mount", CLONE_NEWNS},
    {"net", CLONE_NEWNET}, {"network", CLONE_NEWNET}, {"pid", CLONE_NEWPID}, {"time", TIME_NAMESPACE},
    {"user", CLONE_NEWUSER}, {"uts", CLONE_NEWUTS}, {0}};

/* System calls that every 64-bit architecture has, then those of x86_64 alone. */
#define S(name) {#name, SYS_##name},
static const struct named syscalls[] = {
    S(read) S(write) S(close) S(fstat) S(lseek) S(mmap) S(mprotect) S(munmap) S(brk) S(rt_sigaction)
    S(rt_sigprocmask) S(rt_sigreturn) S(ioctl) S(pread64) S(pwrite64) S(readv) S(writev) S(sched_yield)
    S(mremap) S(msync) S(mincore) S(madvise) S(shmget) S(shmat) S(shmctl) S(dup) S(nanosleep) S(getitimer)
    S(setitimer) S(getpid) S(sendfile) S(socket) S(connect) S(accept) S(sendto) S(recvfrom) S(sendmsg)
    S(recvmsg) S(shutdown) S(bind) S(listen) S(getsockname) S(getpeername) S(socketpair) S(setsockopt)
    S(getsockopt) S(clone) S(execve) S(exit) S(wait4) S(kill) S(uname) S(semget) S(semop) S(semctl) S(shmdt)
    S(msgget) S(msgsnd) S(msgrcv) S(msgctl) S(fcntl) S(flock) S(fsync) S(fdatasync) S(truncate) S(ftruncate)
    S(getcwd) S(chdir) S(fchdir) S(fchmod) S(fchown) S(umask) S(gettimeofday) S(getrlimit) S(getrusage)
    S(sysinfo) S(times) S(ptrace) S(getuid) S(syslog) S(getgid) S(setuid) S(setgid) S(geteuid) S(getegid)
    S(setpgid) S(getppid) S(setsid) S(setreuid) S(setregid) S(getgroups) S(setgroups) S(setresuid) S(getresuid)
    S(setresgid) S(getresgid) S(getpgid) S(setfsuid) S(setfsgid) S(getsid) S(capget) S(capset) S(rt_sigpending)
    S(rt_sigtimedwait) S(rt_sigqueueinfo) S(rt_sigsuspend) S(sigaltstack) S(personality) S(statfs) S(fstatfs)
    S(getpriority) S(setpriority) S(sched_setparam) S(sched_getparam) S(sched_setscheduler)
    S(sched_getscheduler) S(sched_get_priority_max) S(sched_get_priority_min) S(sched_rr_get_interval) S(mlock)
    S(munlock) S(mlockall) S(munlockall) S(vhangup) S(pivot_root) S(prctl) S(adjtimex) S(setrlimit) S(chroot)
    S(sync) S(acct) S(settimeofday) S(mount) S(umount2) S(swapon) S(swapoff) S(reboot) S(sethostname)
    S(setdomainname) S(init_module) S(delete_module) S(quotactl) S(gettid) S(readahead) S(setxattr) S(lsetxattr)
    S(fsetxattr) S(getxattr) S(lgetxattr) S(fgetxattr) S(listxattr) S(llistxattr) S(flistxattr) S(removexattr)
    S(lremovexattr) S(fremovexattr) S(tkill) S(futex) S(sched_setaffinity) S(sched_getaffinity) S(io_setup)
    S(io_destroy) S(io_getevents) S(io_submit) S(io_cancel) S(remap_file_pages) S(getdents64) S(set_tid_address)
    S(restart_syscall) S(semtimedop) S(fadvise64) S(timer_create) S(timer_settime) S(timer_gettime)
    S(timer_getoverrun) S(timer_delete) S(clock_settime) S(clock_gettime) S(clock_getres) S(clock_nanosleep)
    S(exit_group) S(epoll_ctl) S(tgkill) S(mbind) S(set_mempolicy) S(get_mempolicy) S(mq_open) S(mq_unlink)
    S(mq_timedsend) S(mq_timedreceive) S(mq_notify) S(mq_getsetattr) S(kexec_load) S(waitid) S(add_key)
    S(request_key) S(keyctl) S(ioprio_set) S(ioprio_get) S(inotify_add_watch) S(inotify_rm_watch)
    S(migrate_pages) S(openat) S(mkdirat) S(mknodat) S(fchownat) S(newfstatat) S(unlinkat) S(renameat) S(linkat)
    S(symlinkat) S(readlinkat) S(fchmodat) S(faccessat) S(pselect6) S(ppoll) S(unshare) S(set_robust_list)
    S(get_robust_list) S(splice) S(tee) S(sync_file_range) S(vmsplice) S(move_pages) S(utimensat) S(epoll_pwait)
    S(timerfd_create) S(fallocate) S(timerfd_settime) S(timerfd_gettime) S(accept4) S(signalfd4) S(eventfd2)
    S(epoll_create1) S(dup3) S(pipe2) S(inotify_init1) S(preadv) S(pwritev) S(rt_tgsigqueueinfo)
    S(perf_event_open) S(recvmmsg) S(fanotify_init) S(fanotify_mark) S(prlimit64) S(name_to_handle_at)
    S(open_by_handle_at) S(clock_adjtime) S(syncfs) S(sendmmsg) S(setns) S(getcpu) S(process_vm_readv)
    S(process_vm_writev) S(kcmp) S(finit_module) S(sched_setattr) S(sched_getattr) S(renameat2) S(seccomp)
    S(getrandom) S(memfd_create) S(kexec_file_load) S(bpf) S(execveat) S(userfaultfd) S(membarrier) S(mlock2)
    S(copy_file_range) S(preadv2) S(pwritev2) S(pkey_mprotect) S(pkey_alloc) S(pkey_free) S(statx)
    S(io_pgetevents) S(rseq)
#ifdef __x86_64__
    S(stat) S(lstat) S(open) S(poll) S(access) S(pipe) S(select) S(dup2) S(pause) S(alarm) S(fork) S(vfork)
    S(getdents) S(rename) S(mkdir) S(rmdir) S(creat) S(link) S(unlink) S(symlink) S(readlink) S(chmod) S(chown)
    S(lchown) S(getpgrp) S(utime) S(mknod) S(uselib) S(ustat) S(sysfs) S(modify_ldt) S(_sysctl) S(arch_prctl)
    S(iopl) S(ioperm) S(time) S(epoll_create) S(epoll_wait) S(utimes) S(inotify_init) S(futimesat) S(signalfd)
    S(eventfd)
#endif
    {0}};

/* From here on the numbers are the same everywhere, whatever the headers know. */
#define FIRST_UNIFIED 424
static const char *const unified_syscalls[] = {
    "pidfd_send_signal", "io_uring_setup", "io_uring_enter", "io_uring_register", "open_tree", "move_mount",
    "fsopen", "fsconfig", "fsmount", "fspick", "pidfd_open", "clone3", "close_range", "openat2", "pidfd_getfd",
    "faccessat2", "process_madvise", "epoll_pwait2", "mount_setattr", "quotactl_fd", "landlock_create_ruleset",
    "landlock_add_rule", "landlock_restrict_self", "memfd_secret", "process_mrelease", "futex_waitv",
    "set_mempolicy_home_node", "cachestat", "fchmodat2", "map_shadow_stack", "futex_wake", "futex_wait",
    "futex_requeue", "statmount", "listmount", "lsm_get_self_attr", "lsm_set_self_attr", "lsm_list_modules",
    "mseal", "setxattrat", "getxattrat", "listxattrat", "removexattrat", "open_tree_attr", "file_getattr",
    "file_setattr"};

/* what is printed */

struct buffer {
    char *bytes;
    size_t length, room;
};

struct call {
    const char *line;
    int count; /* words, without the command's own */
    char **words;
    char *copy; /* of the line, where the words are */
};

/* A command adds its result to `out` (nothing: true) and returns 0, an errno, or FAULT after setting `complaint`. */
typedef int command_function(struct call *);
#define CALL struct call *call __attribute__((unused))
#define FAULT (-1)
#define USAGE FAULT /* the complaint is the command's usage */

static struct buffer out;
static int output = 1;
static const char *complaint; /* what is wrong with the command */
static bool faulty;           /* a command was unknown or used wrongly */
static char **arguments, **environment;
static sigset_t first_mask;                 /* the blocked signals that the probe was started with */
static struct sigaction first_child_action; /* and what it did about SIGCHLD */

static void grow(struct buffer *buffer, size_t more) {
    if (buffer->length + more <= buffer->room)
        return;
    buffer->room = (buffer->length + more) * 2 + 4096;
    buffer->bytes = realloc(buffer->bytes, buffer->room);
    if (!buffer->bytes)
        _exit(124);
}

static void add(const char *bytes, size_t length) {
    grow(&out, length);
    memcpy(out.bytes + out.length, bytes, length);
    out.length += length;
}

/* Adds a piece of JSON, with a comma before it unless it is the first in its object or list, or the value of a name. */
static void addf(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void addf(const char *format, ...) {
    char piece[256];
    va_list list;
    if (out.length && !strchr("{[:", out.bytes[out.length - 1]))
        add(",", 1);
    va_start(list, format);
    vsnprintf(piece, sizeof piece, format, list);
    va_end(list);
    add(piece, strlen(piece));
}

static void begin(const char *bracket) { addf("%s", bracket); }

static void end(const char *bracket) { add(bracket, 1); }

/* How many bytes the valid UTF-8 sequence at `at` has, 0 if there is none. */
static size_t sequence(const unsigned char *at, size_t left) {
    static const struct {
        unsigned char low, high, second_low, second_high, length;
    } forms[] = {{0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
                 {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
                 {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
    size_t form = 0, length;
    while (form < COUNT(forms) && (*at < forms[form].low || *at > forms[form].high))
        form++;
    if (form == COUNT(forms) || (length = forms[form].length) > left)
        return 0;
    if (length > 1 && (at[1] < forms[form].second_low || at[1] > forms[form].second_high))
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

/* A JSON string: UTF-8 as it is, every byte that isn't part of any as \u00XX. */
static void string_of(const char *bytes, size_t length) {
    begin("\"");
    for (size_t i = 0; i < length;) {
        unsigned char c = bytes[i];
        char escaped[8];
        size_t valid = sequence((const unsigned char *)bytes + i, length - i);
        if (!valid || c < ' ' || c == 0x7f)
            add(escaped, snprintf(escaped, sizeof escaped, "\\u%04x", c));
        else if (c == '"' || c == '\\')
            add(escaped, snprintf(escaped, sizeof escaped, "\\%c", c));
        else
            add(bytes + i, valid);
        i += valid ? valid : 1;
    }
    add("\"", 1);
}

static void string(const char *text) { /* null for NULL */
    text ? string_of(text, strlen(text)) : addf("null");
}

static void number(long long value) { addf("%lld", value); }

static void boolean(bool value) { addf(value ? "true" : "false"); }

static void name(const char *text) {
    string(text);
    add(":", 1);
}

/* {"key": value, …} of FIELDs and other calls that add one or more. */
#define OBJECT(...) (begin("{"), __VA_ARGS__, end("}"))
#define FIELD(key, value) (name(key), PRINTER(value)(value))
#define PRINTER(value) _Generic((value), char *: string, const char *: string, bool: boolean, default: number)
#define NUMBER_OR_NULL(key, known, value) (name(key), (known) ? number(value) : addf("null"))

static void time_field(const char *key, clockid_t clock) {
    struct timespec now = {0};
    clock_gettime(clock, &now);
    name(key);
    addf("%lld.%09ld", (long long)now.tv_sec, now.tv_nsec);
}

/* The name of a value in a table, or its number. */
static const char *named(const char *const *table, size_t count, unsigned value) {
    static char text[16];
    if (value < count && table[value])
        return table[value];
    snprintf(text, sizeof text, "%u", value);
    return text;
}

/* A list of the names of the bits set; bits without a name in hexadecimal. */
static void flag_names(const char *key, const struct named *table, unsigned long long value) {
    name(key);
    begin("[");
    for (; table->name; table++)
        if (value & table->value) {
            string(table->name);
            value &= ~table->value;
        }
    if (value)
        addf("\"%#llx\"", value);
    end("]");
}

static void bit_numbers(const unsigned long *bits, size_t count) {
    begin("[");
    for (size_t i = 0; i < count; i++)
        if (bits[i / 64] >> i % 64 & 1)
            number(i);
    end("]");
}

static const char *error_name(int error) { return named(errors, COUNT(errors), error); }

static const char *signal_name(int which) {
    static char text[24];
    if (which < (int)COUNT(signals))
        snprintf(text, sizeof text, "SIG%s", signals[which]);
    else if (which == LAST_SIGNAL)
        return "SIGRTMAX";
    else if (which >= 34)
        snprintf(text, sizeof text, which > 34 ? "SIGRTMIN+%d" : "SIGRTMIN", which - 34);
    else
        snprintf(text, sizeof text, "SIG%d", which);
    return text;
}

/* A signal by name, with or without SIG, or by number; -1 if there is none. */
static int signal_number(const char *text) {
    char *rest;
    long value = strtol(text, &rest, 10);
    if (*text && !*rest)
        return value > 0 && value <= LAST_SIGNAL ? (int)value : -1;
    if (!strncmp(text, "SIG", 3))
        text += 3;
    for (int i = 1; i <= LAST_SIGNAL; i++)
        if (!strcmp(text, signal_name(i) + 3))
            return i;
    return -1;
}

/* The beginning of the line, up to its result. */
static void begin_line(const char *line) {
    out.length = 0;
    begin("{");
    FIELD("command", line);
}

/* Prints the line at once; goes on after short writes. Nobody to read it is no reason to stop. */
static void end_line(void) {
    add("}\n", 2);
    for (size_t done = 0; done < out.length;) {
        ssize_t written = write(output, out.bytes + done, out.length - done);
        if (written > 0)
            done += written;
        else if (written < 0 && errno == EAGAIN)
            poll(&(struct pollfd){output, POLLOUT, 0}, 1, -1);
        else if (written == 0 || errno != EINTR)
            break;
    }
}

/* A line of its own before the command's result. */
static void print_ready(const struct call *call) {
    begin_line(call->line);
    FIELD("ready", (bool)true);
    end_line();
    begin_line(call->line);
    name("result");
}

/* words, flags, files */

static const char *word(const struct call *call, int index) { /* NULL for none or "-" */
    return index < call->count && strcmp(call->words[index], "-") ? call->words[index] : NULL;
}

/* The line from a word on, with all its spaces. */
static const char *rest(const struct call *call, int index) {
    return index < call->count ? call->line + (call->words[index] - call->copy) : "";
}

static long long integer(const struct call *call, int index, long long without) {
    return index < call->count ? strtoll(call->words[index], NULL, 0) : without;
}

/* Adds up the flags of a word like "ro,nosuid" (no word, "-": none; numbers: as they are). False if one is unknown. */
static bool flags_of(const struct call *call, int index, const struct named *table, unsigned long *flags) {
    const char *text = word(call, index);
    *flags = 0;
    while (text && *text) {
        size_t length = strcspn(text, ",");
        const struct named *row = table;
        while (row->name && (strlen(row->name) != length || strncmp(row->name, text, length)))
            row++;
        char *after;
        *flags |= row->name ? row->value : strtoul(text, &after, 0);
        if (!row->name && after != text + length)
            return false;
        text += length + (text[length] == ',');
    }
    return true;
}

/* Reads a descriptor to its end, or to a limit. Returns an errno. */
static int drain(int fd, struct buffer *into, size_t limit) {
    into->length = 0;
    while (into->length < limit) {
        grow(into, 16384);
        size_t room = into->room - into->length, left = limit - into->length;
        ssize_t got = read(fd, into->bytes + into->length, room < left ? room : left);
        if (got == 0)
            break;
        if (got < 0 && errno != EINTR)
            return errno;
        into->length += got > 0 ? got : 0;
    }
    grow(into, 1);
    into->bytes[into->length] = 0;
    return 0;
}

static struct buffer text; /* of what a command reads, with a NUL after it */

static int slurp(const char *path, size_t limit) {
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    int error = drain(fd, &text, limit);
    close(fd);
    return error;
}

static const char *file_type(mode_t mode) {
    static const char *const types[] = {"anon", "fifo", "char", "anon", "dir", "anon", "block", "anon",
                                        "file", "anon", "link", "anon", "socket"};
    return named(types, COUNT(types), mode >> 12);
}

/* Where a symbolic link leads, or NULL. */
static const char *link_target(const char *format, ...) __attribute__((format(printf, 1, 2)));
static const char *link_target(const char *format, ...) {
    static char path[PATH_MAX], target[2 * PATH_MAX];
    va_list list;
    va_start(list, format);
    vsnprintf(path, sizeof path, format, list);
    va_end(list);
    ssize_t length = readlink(path, target, sizeof target - 1);
    target[length < 0 ? 0 : length] = 0;
    return length < 0 ? NULL : target;
}

static int answer(long result) { return result < 0 ? errno : 0; }

/* children */

/* fork(), with the signals that the probe was started with. SIGCHLD may have been ignored by whoever started us, and
 * then nobody could wait. */
static pid_t begin_child(void) {
    sigaction(SIGCHLD, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
    pid_t child = fork();
    if (child == 0)
        sigprocmask(SIG_SETMASK, &first_mask, NULL);
    return child;
}

/* The orphans that process 1 is given. */
static void reap(void) {
    while (getpid() == 1 && waitpid(-1, NULL, WNOHANG) > 0)
        ;
}

static int end_child(pid_t child) {
    int status = 0;
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    reap();
    sigaction(SIGCHLD, &first_child_action, NULL);
    return status;
}

static const char *killer(int ended) { return WIFSIGNALED(ended) ? signal_name(WTERMSIG(ended)) : NULL; }

/* Memory that a child shares with us, to tell how far it came even when it is killed. NULL if there is none. */
static volatile long *shared_memory(void) {
    static void *page;
    if (!page)
        page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return page == MAP_FAILED ? page = NULL : memset(page, 0, 4096);
}

/* A pipe whose ends are above 2, since those may be closed and belong to the program. Returns an errno. */
static int high_pipe(int ends[2]) {
    int low[2];
    if (pipe2(low, O_CLOEXEC))
        return errno;
    for (int i = 0; i < 2; i++)
        ends[i] = fcntl(low[i], F_DUPFD_CLOEXEC, 3);
    int error = ends[0] < 0 || ends[1] < 0 ? errno : 0;
    close(low[0]);
    close(low[1]);
    return error;
}

/* what the process is */

static int ids(CALL) {
    static gid_t groups[65536];
    uid_t uid, euid, suid;
    gid_t gid, egid, sgid;
    getresuid(&uid, &euid, &suid);
    getresgid(&gid, &egid, &sgid);
    uid_t fsuid = syscall(SYS_setfsuid, -1), fsgid = syscall(SYS_setfsgid, -1); /* -1 changes nothing */
    int count = getgroups(COUNT(groups), groups);
    if (count < 0)
        return errno;
    mode_t mask = umask(0);
    umask(mask);
    begin("{");
    FIELD("uid", uid), FIELD("euid", euid), FIELD("suid", suid), FIELD("fsuid", fsuid);
    FIELD("gid", gid), FIELD("egid", egid), FIELD("sgid", sgid), FIELD("fsgid", fsgid);
    FIELD("umask", mask), name("groups"), begin("[");
    for (int i = 0; i < count; i++)
        number(groups[i]);
    end("]"), end("}");
    return 0;
}

static int cwd(CALL) {
    static char path[2 * PATH_MAX];
    if (syscall(SYS_getcwd, path, sizeof path) < 0)
        return errno;
    string(path); /* "(unreachable)…" as the kernel says it, where libc would hide it */
    return 0;
}

static int strings(char **list) {
    begin("[");
    while (*list)
        string(*list++);
    end("]");
    return 0;
}

static int argv(CALL) { return strings(arguments); }

static int env(CALL) { return strings(environment); }

static void descriptor(int fd) {
    struct stat status;
    if ((fd == output && output != 1) || fstat(fd, &status))
        return;
    OBJECT(FIELD("fd", fd), FIELD("type", S_ISFIFO(status.st_mode) ? "pipe" : file_type(status.st_mode)),
           FIELD("link", link_target("/proc/self/fd/%d", fd)));
}

static int fds(CALL) {
    struct statfs kind;
    DIR *folder = statfs("/proc/self/fd", &kind) || kind.f_type != PROC_MAGIC ? NULL : opendir("/proc/self/fd");
    begin("[");
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        if (*entry->d_name != '.' && atoi(entry->d_name) != dirfd(folder))
            descriptor(atoi(entry->d_name));
    for (int fd = 0; !folder && fd < LAST_FD; fd++)
        descriptor(fd);
    end("]");
    if (folder)
        closedir(folder);
    return 0;
}

static void capability_names(const char *key, unsigned long long set) {
    name(key);
    begin("[");
    for (unsigned i = 0; i < 64; i++)
        if (set >> i & 1)
            addf("\"CAP_%s\"", named(capabilities, COUNT(capabilities), i));
    end("]");
}

static int caps(CALL) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct low_high[2];
    unsigned long long bounding = 0, ambient = 0;
    if (syscall(SYS_capget, &header, low_high))
        return errno;
    for (int i = 0; i < 64; i++) {
        bounding |= (unsigned long long)(prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1) << i;
        ambient |= (unsigned long long)(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, i, 0, 0) == 1) << i;
    }
#define WHOLE(set) (low_high[0].set | (unsigned long long)low_high[1].set << 32)
    OBJECT(capability_names("bounding", bounding), capability_names("effective", WHOLE(effective)),
           capability_names("permitted", WHOLE(permitted)), capability_names("inheritable", WHOLE(inheritable)),
           capability_names("ambient", ambient));
    return 0;
}

static int nnp(CALL) {
    int value = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
    if (value >= 0)
        boolean(value);
    return answer(value);
}

static int rlimits(CALL) {
    begin("{");
    for (unsigned i = 0; i < COUNT(limits); i++) {
        unsigned long long pair[2];
        if (syscall(SYS_prlimit64, 0, i, NULL, pair))
            return errno;
        addf("\"RLIMIT_%s\":{\"soft\":\"%llu\",\"hard\":\"%llu\"}", limits[i], pair[0], pair[1]);
    }
    end("}");
    return 0;
}

static int sched(CALL) {
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
        uint32_t util_min, util_max;
    } seen = {0};
    if (syscall(SYS_sched_getattr, 0, &seen, sizeof seen, 0))
        return errno;
    OBJECT(FIELD("policy", named(policies, COUNT(policies), seen.policy)), FIELD("nice", seen.nice),
           flag_names("flags", sched_flags, seen.flags), FIELD("priority", seen.priority),
           FIELD("runtime", seen.runtime), FIELD("deadline", seen.deadline), FIELD("period", seen.period),
           FIELD("util_min", seen.util_min), FIELD("util_max", seen.util_max));
    return 0;
}

static int ioprio(CALL) {
    int own = syscall(SYS_ioprio_get, 1, 0), group = syscall(SYS_ioprio_get, 2, 0);
    if (own < 0 || group < 0)
        return errno;
#define IO_PRIORITY(of) FIELD("class", named(io_classes, COUNT(io_classes), of >> 13)), FIELD("priority", of & 7)
    OBJECT(IO_PRIORITY(own), name("group"), OBJECT(IO_PRIORITY(group)));
    return 0;
}

static int affinity(CALL) {
    unsigned long bits[128] = {0};
    if (syscall(SYS_sched_getaffinity, 0, sizeof bits, bits) < 0)
        return errno;
    bit_numbers(bits, sizeof bits * 8);
    return 0;
}

static int mempolicy(CALL) {
    unsigned long nodes[64] = {0};
    int mode = 0, modes = 0x1fff; /* the bits above are flags */
    if (syscall(SYS_get_mempolicy, &mode, nodes, sizeof nodes * 8, NULL, 0))
        return errno;
    OBJECT(FIELD("mode", named(memory_modes, COUNT(memory_modes), mode & modes)),
           flag_names("flags", memory_flags, mode & ~modes), name("nodes"), bit_numbers(nodes, sizeof nodes * 8));
    return 0;
}

static int personality(CALL) {
    long value = syscall(SYS_personality, 0xffffffff), domain = value & 0xff;
    if (value < 0)
        return errno;
    OBJECT(FIELD("domain", domain == 0 ? "LINUX" : domain == 8 ? "LINUX32" : "other"),
           FIELD("flags", value & ~0xffL), FIELD("value", value));
    return 0;
}

static int clocks(CALL) {
    OBJECT(time_field("realtime", CLOCK_REALTIME), time_field("monotonic", CLOCK_MONOTONIC),
           time_field("boottime", CLOCK_BOOTTIME));
    return 0;
}

static int names_of_machine(CALL) {
    struct utsname seen;
    if (uname(&seen))
        return errno;
    OBJECT(FIELD("sysname", seen.sysname), FIELD("nodename", seen.nodename), FIELD("release", seen.release),
           FIELD("version", seen.version), FIELD("machine", seen.machine), FIELD("domainname", seen.domainname));
    return 0;
}

static int by_name(const void *left, const void *right) { return strcmp(*(char *const *)left, *(char *const *)right); }

/* The names in a folder, sorted, without . and .., with NULL at the end. Returns an errno. */
static int folder_names(const char *path, char ***names) {
    static char **list;
    size_t count = 0;
    DIR *folder = opendir(path);
    if (!folder)
        return errno;
    for (struct dirent *entry; errno = 0, (entry = readdir(folder));)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) {
            if (!(list = realloc(list, (count + 2) * sizeof *list)) || !(list[count++] = strdup(entry->d_name)))
                _exit(124);
        }
    int error = errno;
    closedir(folder);
    if (!list && !(list = malloc(sizeof *list)))
        _exit(124);
    qsort(list, count, sizeof *list, by_name);
    list[count] = NULL;
    *names = list;
    return error;
}

static int ns(CALL) {
    char **names;
    int error = folder_names("/proc/self/ns", &names);
    if (error)
        return error;
    begin("{");
    for (; *names; names++)
        FIELD(*names, link_target("/proc/self/ns/%s", *names));
    end("}");
    return 0;
}

static int mounts(CALL) {
    int error = slurp("/proc/self/mountinfo", SIZE_MAX);
    if (error)
        return error;
    begin("[");
    for (char *line = text.bytes, *stop; (stop = strchr(line, '\n')); line = stop + 1)
        string_of(line, stop - line);
    end("]");
    return 0;
}

/* Cuts the next line of /proc/self/status out of `text`; returns its value. */
static char *status_line(char **from, char **key) {
    char *line;
    do
        if (!(line = strsep(from, "\n")))
            return NULL;
    while (!strchr(line, ':'));
    *key = strsep(&line, ":");
    return line + strspn(line, " \t");
}

static int status(CALL) {
    int error = slurp("/proc/self/status", SIZE_MAX);
    if (error)
        return error;
    begin("{");
    for (char *from = text.bytes, *key, *value; (value = status_line(&from, &key));)
        FIELD(key, value);
    end("}");
    return 0;
}

static int session(CALL) {
    pid_t foreground = -1;
    for (int fd = 0; fd < 3 && foreground < 0; fd++)
        foreground = tcgetpgrp(fd);
    OBJECT(FIELD("pid", getpid()), FIELD("ppid", getppid()), FIELD("sid", getsid(0)), FIELD("pgid", getpgrp()),
           NUMBER_OR_NULL("foreground", foreground >= 0, foreground));
    return 0;
}

static int tty(CALL) {
    int fd = 0;
    struct winsize size;
    struct stat status;
    while (fd < 3 && !isatty(fd))
        fd++;
    bool sized = !ioctl(fd < 3 ? fd : -1, TIOCGWINSZ, &size);
    begin("{"), name("isatty"), begin("["), boolean(isatty(0)), boolean(isatty(1)), boolean(isatty(2)), end("]");
    FIELD("name", fd < 3 ? link_target("/proc/self/fd/%d", fd) : NULL), name("device");
    fd < 3 && !fstat(fd, &status) ? addf("\"%u:%u\"", major(status.st_rdev), minor(status.st_rdev)) : addf("null");
    NUMBER_OR_NULL("rows", sized, size.ws_row), NUMBER_OR_NULL("columns", sized, size.ws_col), end("}");
    return 0;
}

static void signal_list(const char *key, unsigned long long set) {
    name(key);
    begin("[");
    for (int i = 1; i <= LAST_SIGNAL; i++)
        if (set >> (i - 1) & 1)
            string(signal_name(i));
    end("]");
}

static int signal_sets(CALL) {
    unsigned long long blocked = 0, pending = 0, ignored = 0;
    if (syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &blocked, 8) || syscall(SYS_rt_sigpending, &pending, 8))
        return errno;
    for (int i = 1; i <= LAST_SIGNAL; i++) {
        unsigned long action[8] = {0}; /* the kernel's own structure: the handler comes first */
        if (!syscall(SYS_rt_sigaction, i, NULL, action, 8) && action[0] == (unsigned long)SIG_IGN)
            ignored |= 1ull << (i - 1);
    }
    OBJECT(signal_list("blocked", blocked), signal_list("ignored", ignored), signal_list("pending", pending));
    return 0;
}

static int seccomp_mode(CALL) {
    int mode = prctl(PR_GET_SECCOMP, 0, 0, 0, 0);
    long filters = -1;
    if (mode < 0)
        return errno;
    if (!slurp("/proc/self/status", SIZE_MAX))
        for (char *from = text.bytes, *key, *value; (value = status_line(&from, &key));)
            if (!strcmp(key, "Seccomp_filters"))
                filters = atol(value);
    OBJECT(FIELD("mode", mode), NUMBER_OR_NULL("filters", filters >= 0, filters));
    return 0;
}

static int keyring(CALL) {
    char raw[4096] = ""; /* type;uid;gid;permissions;description */
    long serial = syscall(SYS_keyctl, KEYRING_ID, SESSION_KEYRING, 0);
    if (serial < 0 || syscall(SYS_keyctl, KEYRING_DESCRIBE, serial, raw, sizeof raw - 1) < 0)
        return errno;
    char *last = strrchr(raw, ';');
    OBJECT(FIELD("session", last ? last + 1 : raw), FIELD("serial", serial), FIELD("raw", raw));
    return 0;
}

static void label(const char *key, const char *path) {
    int error = slurp(path, 4096);
    while (!error && text.length && (!text.bytes[text.length - 1] || text.bytes[text.length - 1] == '\n'))
        text.bytes[--text.length] = 0;
    FIELD(key, error || !text.length ? NULL : text.bytes);
}

static int lsm(CALL) {
    OBJECT(label("current", "/proc/self/attr/current"), label("exec", "/proc/self/attr/exec"),
           label("apparmor", "/proc/self/attr/apparmor/current"));
    return 0;
}

static void addresses_of(const struct ifaddrs *entry, const char *interface) {
    for (; entry; entry = entry->ifa_next) {
        int family = entry->ifa_addr ? entry->ifa_addr->sa_family : 0, length = 0;
        if ((family != AF_INET && family != AF_INET6) || strcmp(entry->ifa_name, interface))
            continue;
        size_t at = family == AF_INET ? offsetof(struct sockaddr_in, sin_addr)
                                      : offsetof(struct sockaddr_in6, sin6_addr);
        const char *mask = (const char *)entry->ifa_netmask + at;
        for (int i = 0; entry->ifa_netmask && i < (family == AF_INET ? 4 : 16); i++)
            length += __builtin_popcount(mask[i] & 0xff);
        char address[INET6_ADDRSTRLEN] = "";
        inet_ntop(family, (const char *)entry->ifa_addr + at, address, sizeof address);
        addf("\"%s/%d\"", address, length);
    }
}

static int net(CALL) {
    struct ifaddrs *all;
    if (getifaddrs(&all))
        return errno;
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    begin("[");
    for (struct ifaddrs *entry = all; entry; entry = entry->ifa_next) {
        if (!entry->ifa_addr || entry->ifa_addr->sa_family != AF_PACKET)
            continue; /* each interface has one such entry */
        struct sockaddr_ll *link = (void *)entry->ifa_addr;
        const unsigned char *mac = link->sll_addr;
        struct ifreq request = {0};
        snprintf(request.ifr_name, sizeof request.ifr_name, "%s", entry->ifa_name);
        bool sized = control >= 0 && !ioctl(control, SIOCGIFMTU, &request);
        begin("{");
        FIELD("name", entry->ifa_name), FIELD("index", link->sll_ifindex);
        FIELD("up", (bool)(entry->ifa_flags & IFF_UP)), NUMBER_OR_NULL("mtu", sized, request.ifr_mtu), name("mac");
        link->sll_halen != 6
            ? addf("null")
            : addf("\"%02x:%02x:%02x:%02x:%02x:%02x\"", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
        name("addresses"), begin("["), addresses_of(all, entry->ifa_name), end("]"), end("}");
    }
    end("]");
    if (control >= 0)
        close(control);
    freeifaddrs(all);
    return 0;
}

/* files */

/* Of a file; `path` is where a link is read, and NULL for a descriptor. */
static int told_status(struct stat seen, const char *path) {
    begin("{");
    FIELD("type", file_type(seen.st_mode)), FIELD("mode", seen.st_mode & 07777), FIELD("uid", seen.st_uid);
    FIELD("gid", seen.st_gid), FIELD("major", major(seen.st_rdev)), FIELD("minor", minor(seen.st_rdev));
    FIELD("size", seen.st_size), FIELD("ino", seen.st_ino), FIELD("nlink", seen.st_nlink);
    addf("\"dev\":\"%u:%u\"", major(seen.st_dev), minor(seen.st_dev));
    addf("\"mtime\":%lld.%09ld", (long long)seen.st_mtim.tv_sec, seen.st_mtim.tv_nsec);
    FIELD("target", path && S_ISLNK(seen.st_mode) ? link_target("%s", path) : NULL), end("}");
    return 0;
}

static int stat_path(CALL) {
    struct stat seen;
    const char *path = rest(call, 0);
    return lstat(path, &seen) ? errno : told_status(seen, path);
}

static int stat_descriptor(CALL) {
    struct stat seen;
    return fstat(integer(call, 0, -1), &seen) ? errno : told_status(seen, NULL);
}

static int statfs_path(CALL) {
    struct statfs seen;
    if (statfs(rest(call, 0), &seen))
        return errno;
    begin("{");
    addf("\"type\":\"%#lx\"", (unsigned long)seen.f_type & 0xffffffff);
    flag_names("flags", statfs_flags, seen.f_flags & ~0x20UL); /* 0x20: the flags are valid */
    FIELD("bsize", seen.f_bsize), FIELD("blocks", seen.f_blocks), FIELD("bfree", seen.f_bfree);
    FIELD("files", seen.f_files), FIELD("ffree", seen.f_ffree), FIELD("namelen", seen.f_namelen), end("}");
    return 0;
}

static int read_path(CALL) {
    int error = slurp(call->words[0], integer(call, 1, READ_LIMIT));
    if (!error)
        string_of(text.bytes, text.length);
    return error;
}

static int write_path(CALL) {
    const char *content = rest(call, 1);
    int fd = open(call->words[0], O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0666);
    if (fd < 0)
        return errno;
    ssize_t written = write(fd, content, strlen(content));
    int error = answer(written);
    if (close(fd) && !error)
        error = errno;
    number(written);
    return error;
}

static int list_path(CALL) {
    char **names;
    int error = folder_names(rest(call, 0), &names);
    return error ? error : strings(names);
}

static int access_path(CALL) {
    static const char letters[] = "fxw*r"; /* at the number that access() has for them */
    int mode = 0;
    for (const char *letter = call->words[1]; *letter; letter++) {
        if (*letter == '*' || !strchr(letters, *letter))
            return USAGE;
        mode |= strchr(letters, *letter) - letters;
    }
    return answer(access(call->words[0], mode));
}

static int open_path(CALL) {
    unsigned long flags;
    if (!flags_of(call, 1, open_flags, &flags))
        return USAGE;
    int fd = open(call->words[0], flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    close(fd);
    return 0;
}

static int mkdir_path(CALL) { return answer(mkdir(call->words[0], integer(call, 1, 0777))); }
static int rmdir_path(CALL) { return answer(rmdir(rest(call, 0))); }
static int unlink_path(CALL) { return answer(unlink(rest(call, 0))); }
static int symlink_path(CALL) { return answer(symlink(call->words[0], rest(call, 1))); }
static int link_path(CALL) { return answer(link(call->words[0], rest(call, 1))); }
static int rename_path(CALL) { return answer(rename(call->words[0], rest(call, 1))); }
static int chmod_path(CALL) { return answer(chmod(call->words[0], strtol(call->words[1], NULL, 8))); }
static int chown_path(CALL) { return answer(chown(call->words[0], integer(call, 1, -1), integer(call, 2, -1))); }
static int change_folder(CALL) { return answer(chdir(rest(call, 0))); }
static int change_root(CALL) { return answer(chroot(rest(call, 0)) ? -1 : chdir("/")); }
static int set_host_name(CALL) { return answer(sethostname(rest(call, 0), strlen(rest(call, 0)))); }

static int mknod_path(CALL) {
    char letter = *call->words[1];
    mode_t type = letter == 'c' ? S_IFCHR : letter == 'b' ? S_IFBLK : letter == 'p' ? S_IFIFO : 0;
    if (!type || (type != S_IFIFO && call->count < 4))
        return USAGE;
    return answer(mknod(call->words[0], type | 0666, makedev(integer(call, 2, 0), integer(call, 3, 0))));
}

static int mount_path(CALL) {
    unsigned long flags;
    if (!flags_of(call, 3, mount_flags, &flags))
        return USAGE;
    return answer(mount(word(call, 0), call->words[1], word(call, 2), flags, word(call, 4)));
}

static int umount_path(CALL) {
    unsigned long flags;
    return flags_of(call, 1, umount_flags, &flags) ? answer(umount2(call->words[0], flags)) : USAGE;
}

static int leave_namespaces(CALL) {
    unsigned long flags;
    return flags_of(call, 0, namespaces, &flags) ? answer(unshare(flags)) : USAGE;
}

static int enter_namespace(CALL) {
    int fd = open(rest(call, 0), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    int error = answer(setns(fd, 0));
    close(fd);
    return error;
}

/* what the process does */

static int exec_program(CALL) {
    int printed[2], failed[2], error = 0;
    if ((error = high_pipe(printed)) || (error = high_pipe(failed)))
        return error;
    pid_t child = begin_child();
    if (child == 0) {
        dup2(printed[1], 1);
        execve(call->words[0], call->words, environment);
        error = errno;
        _exit(write(failed[1], &error, sizeof error) < 0);
    }
    error = child < 0 ? errno : 0;
    close(printed[1]);
    close(failed[1]);
    text.length = 0;
    if (child > 0 && read(failed[0], &error, sizeof error) == 0)
        drain(printed[0], &text, READ_LIMIT);
    close(printed[0]);
    close(failed[0]);
    int ended = end_child(child);
    if (error)
        return error;
    OBJECT(NUMBER_OR_NULL("exit", WIFEXITED(ended), WEXITSTATUS(ended)), FIELD("signal", killer(ended)),
           name("stdout"), string_of(text.bytes, text.length));
    return 0;
}

/* The number of a system call by name or number, -1 if this machine has none of the name. */
static long syscall_number(const char *wanted) {
    char *after;
    long value = strtol(wanted, &after, 0);
    if (*wanted && !*after)
        return value;
    for (const struct named *row = syscalls; row->name; row++)
        if (!strcmp(row->name, wanted))
            return row->value;
    for (size_t i = 0; i < COUNT(unified_syscalls); i++)
        if (!strcmp(unified_syscalls[i], wanted))
            return FIRST_UNIFIED + i;
    return -1;
}

/* In a child: makes the call, and tells through shared memory what came of it. */
static void make_call(long which, const long *values, volatile long *told) {
    bool forks = which == SYS_clone || which == SYS_clone3;
    long result;
    alarm(TRY_SECONDS);
#ifdef SYS_fork
    forks = forks || which == SYS_fork || which == SYS_vfork;
    if (which == SYS_vfork)
        result = vfork(); /* which can't be called through syscall() */
    else
#endif
        result = syscall(which, values[0], values[1], values[2], values[3], values[4], values[5]);
    if (forks && result == 0)
        _exit(0);
    told[1] = result;
    told[2] = answer(result);
    told[0] = 1;
    _exit(0);
}

/* The system call that a command line names, and its arguments; false after setting the complaint. */
static bool wanted_call(CALL, long *which, long *values) {
    static char scratch[65536];
    *which = syscall_number(call->words[0]);
    for (int i = 0; i < 6 && i + 1 < call->count; i++) {
        char *argument = call->words[i + 1];
        values[i] = *argument == '@'              ? (long)(argument + 1)
                    : !strcmp(argument, "buffer") ? (long)scratch
                                                  : (long)strtoull(argument, NULL, 0);
    }
    complaint = *which < 0 ? "no such system call on this machine" : "no memory to share with a child";
    return *which >= 0;
}

static int try_call(CALL) {
    long values[6] = {0}, which;
    volatile long *told = shared_memory();
    if (!wanted_call(call, &which, values) || !told)
        return FAULT;
    pid_t child = begin_child();
    if (child == 0)
        make_call(which, values, told);
    complaint = "no child to try it in"; /* no errno: that would be taken for the call's */
    int ended = end_child(child);
    if (child < 0 || told[2])
        return child < 0 ? FAULT : told[2];
    if (told[0])
        number(told[1]);
    else {
        OBJECT(NUMBER_OR_NULL("exit", WIFEXITED(ended), WEXITSTATUS(ended)), FIELD("signal", killer(ended)));
        if (WIFSIGNALED(ended))
            FIELD("signal", killer(ended));
    }
    return 0;
}

static struct { long which, values[6]; volatile long *told; } in_thread;

static int call_in_thread(void *unused __attribute__((unused))) {
    const long *values = in_thread.values;
    long result = syscall(in_thread.which, values[0], values[1], values[2], values[3], values[4], values[5]);
    in_thread.told[1] = result;
    in_thread.told[2] = answer(result);
    in_thread.told[0] = 1;
    return 0;
}

static void trapped(int which __attribute__((unused))) {
    in_thread.told[3] = 1;
    _exit(0);
}

/* Tells apart what seccomp can do besides giving an errno: kill the thread, kill the process, or send SIGSYS. */
static int try_in_thread(CALL) {
    static char stack[65536] __attribute__((aligned(16)));
    static volatile pid_t thread = -1; /* the kernel clears it when the thread ends */
    volatile long *told = in_thread.told = shared_memory();
    memset(in_thread.values, 0, sizeof in_thread.values);
    if (!wanted_call(call, &in_thread.which, in_thread.values) || !told)
        return FAULT;
    pid_t child = begin_child();
    if (child == 0) {
        int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                    CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
        alarm(TRY_SECONDS);
        sigaction(SIGSYS, &(struct sigaction){.sa_handler = trapped}, NULL);
        if (clone(call_in_thread, stack + sizeof stack, flags, NULL, &thread, NULL, &thread) < 0)
            _exit(1);
        while (thread)
            sched_yield();
        _exit(0);
    }
    complaint = "no child with a thread to try it in";
    int ended = end_child(child);
    if (child < 0 || told[2] || (WIFEXITED(ended) && WEXITSTATUS(ended)))
        return told[2] ? told[2] : FAULT;
    OBJECT(FIELD("outcome", WIFSIGNALED(ended) ? "process killed"
                            : told[3]          ? "trapped"
                            : told[0]          ? "returned"
                                               : "thread killed"),
           NUMBER_OR_NULL("value", told[0], told[1]), FIELD("signal", WIFSIGNALED(ended) ? killer(ended) : NULL));
    return 0;
}

static long long nanoseconds(clockid_t clock) {
    struct timespec now = {0};
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void sleep_ms(long long ms) {
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&left, &left) && errno == EINTR)
        ;
}

/* Until a file is there: how a test holds a hook while it looks at something. */
static int await_file(CALL) {
    long long until = nanoseconds(CLOCK_MONOTONIC) + integer(call, 1, 10) * 1000000000LL;
    while (access(call->words[0], F_OK)) {
        if (nanoseconds(CLOCK_MONOTONIC) > until)
            return ETIMEDOUT;
        sleep_ms(5);
    }
    return 0;
}

static int fork_many(CALL) {
    long wanted = integer(call, 0, 0), made = 0;
    pid_t *children = calloc(wanted > 0 ? wanted : 1, sizeof *children);
    int error = children ? 0 : ENOMEM;
    while (!error && made < wanted) {
        pid_t child = begin_child();
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (;;)
                pause();
        }
        error = answer(child);
        if (!error)
            children[made++] = child;
    }
    for (long i = 0; i < made; i++)
        kill(children[i], SIGKILL);
    for (long i = 0; i < made; i++)
        end_child(children[i]);
    free(children);
    OBJECT(FIELD("made", made), FIELD("errno", error ? error_name(error) : NULL));
    return 0;
}

/* In a child, so that it is the child that is killed where there is too little. */
static int allocate(CALL) {
    const size_t mib = 1 << 20;
    volatile long *told = shared_memory();
    if (!told)
        return ENOMEM;
    pid_t child = begin_child();
    if (child == 0) {
        for (; told[0] < integer(call, 0, 0); told[0]++) {
            char *memory = mmap(NULL, mib, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (memory == MAP_FAILED) {
                told[1] = errno;
                _exit(0);
            }
            memset(memory, 0x5a, mib);
        }
        sleep_ms(integer(call, 1, 0));
        _exit(0);
    }
    int error = child < 0 ? errno : 0, ended = end_child(child);
    if (error)
        return error;
    OBJECT(FIELD("allocated", told[0]), FIELD("errno", told[1] ? error_name(told[1]) : NULL),
           FIELD("signal", killer(ended)));
    return 0;
}

static int spin(CALL) {
    long long wall = nanoseconds(CLOCK_MONOTONIC), cpu = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
    while (nanoseconds(CLOCK_MONOTONIC) - wall < integer(call, 0, 0) * 1000000)
        ;
    OBJECT(FIELD("cpu", (nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - cpu) / 1000000),
           FIELD("wall", (nanoseconds(CLOCK_MONOTONIC) - wall) / 1000000));
    return 0;
}

static int sleep_a_while(CALL) {
    sleep_ms(integer(call, 0, 0));
    reap();
    return 0;
}

static int end_now(CALL) {
    number(integer(call, 0, 0));
    end_line();
    _exit(integer(call, 0, 0));
}

/* Signals that process 1 sends itself are lost, unless the kernel sends them for a fault. */
static int die(CALL) {
    int which = signal_number(call->words[0]);
    complaint = "unknown signal";
    if (which < 0)
        return FAULT;
    string(signal_name(which));
    end_line();
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, which);
    signal(which, SIG_DFL);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    kill(getpid(), which);
    if (which == SIGSEGV)
        *(volatile char *)mmap(NULL, 1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) = 0;
    if (which == SIGSYS) {
        struct sock_filter kills = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &(struct sock_fprog){1, &kills}, 0, 0);
    }
    complaint = "still alive";
    return FAULT;
}

/* All signals stay blocked from here on, so that none is lost between two of these commands; children get the mask
 * that the probe was started with. */
static int wait_signal(CALL) {
    unsigned long long all = ~0ull;
    siginfo_t from;
    long long until = nanoseconds(CLOCK_MONOTONIC) + integer(call, 0, 86400) * 1000000000LL, left;
    int got = 0;
    if (syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8))
        return errno;
    print_ready(call);
    do {
        left = until - nanoseconds(CLOCK_MONOTONIC);
        left = left > 0 ? left : 0;
        got = syscall(SYS_rt_sigtimedwait, &all, &from, &(struct timespec){left / 1000000000, left % 1000000000}, 8);
        if (got < 0 && errno != EINTR && errno != EAGAIN)
            return errno;
        if ((got == SIGCHLD || got == SIGWINCH) && from.si_code != SI_USER)
            got = 0; /* those two come from the kernel by themselves */
        reap();
    } while (got <= 0 && left);
    OBJECT(FIELD("signal", got > 0 ? signal_name(got) : NULL));
    return 0;
}

static int pause_for_ever(CALL) {
    sigset_t children;
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    sigprocmask(SIG_BLOCK, &children, NULL);
    print_ready(call);
    while (sigwaitinfo(&children, NULL))
        reap();
    return 0;
}

static int echo(CALL) {
    string(rest(call, 0));
    return 0;
}

/* sd_notify(3): a datagram to the socket whose path the variable NOTIFY_SOCKET has. */
static int notify(CALL) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    const char *path = getenv("NOTIFY_SOCKET"), *text = rest(call, 0);
    if (!path || strlen(path) >= sizeof to.sun_path)
        return ENOENT;
    memcpy(to.sun_path, path, strlen(path));
    if (*path == '@')
        *to.sun_path = 0;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    socklen_t size = offsetof(struct sockaddr_un, sun_path) + strlen(path);
    int error = answer(sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&to, size));
    close(fd);
    return error;
}

/* The descriptor is put high, out of the way of those that commands are about. */
static int print_to(CALL) {
    static const int places[] = {900, 200, 20, 3};
    int fd = open(rest(call, 0), O_WRONLY | O_APPEND | O_CREAT | O_NOCTTY | O_CLOEXEC, 0666), high = -1;
    if (fd < 0)
        return errno;
    for (size_t i = 0; high < 0 && i < COUNT(places); i++)
        high = fcntl(fd, F_DUPFD_CLOEXEC, places[i]);
    int error = answer(high);
    close(fd);
    if (error)
        return error;
    if (output != 1)
        close(output);
    output = high;
    return 0;
}

static int standard_input(CALL) {
    int error = drain(0, &text, SIZE_MAX);
    if (!error)
        string_of(text.bytes, text.length);
    return error;
}

/* `drain`, which says nothing: standard input is read to its end and forgotten, so that whoever writes to it isn't hit
   by SIGPIPE. One that never ends is left after 3 s without a byte. */
static void swallow_input(void) {
    char bytes[4096];
    struct pollfd input = {0, POLLIN, 0};
    while (poll(&input, 1, 3000) > 0 && read(0, bytes, sizeof bytes) > 0)
        ;
}

static void run(const char *line);

/* Byte by byte, so that a command that reads standard input finds what follows its line. */
static int serve(CALL) {
    struct buffer line = {0};
    ssize_t got;
    char c;
    long served = 0;
    do {
        got = read(0, &c, 1);
        grow(&line, 1);
        if (got > 0 && c != '\n')
            line.bytes[line.length++] = c;
        else if (got > 0 || (got == 0 && line.length)) {
            line.bytes[line.length] = 0;
            line.length = 0;
            run(line.bytes);
            served++;
        }
    } while (got > 0 || (got < 0 && errno == EINTR));
    free(line.bytes);
    begin_line(call->line);
    name("result");
    number(served);
    return 0;
}

/* all commands */

static const struct command {
    const char *name;
    command_function *function;
    int least, most; /* words; most < 0: the rest of the line is one */
    const char *usage;
} commands[] = {
#define ALONE(name, function) {name, function, 0, 0, ""}
    ALONE("ids", ids), ALONE("cwd", cwd), ALONE("argv", argv), ALONE("env", env), ALONE("fds", fds),
    ALONE("caps", caps), ALONE("nnp", nnp), ALONE("rlimits", rlimits), ALONE("sched", sched),
    ALONE("ioprio", ioprio), ALONE("affinity", affinity), ALONE("mempolicy", mempolicy),
    ALONE("personality", personality), ALONE("clocks", clocks), ALONE("time", clocks),
    ALONE("uname", names_of_machine), ALONE("ns", ns), ALONE("mounts", mounts), ALONE("status", status),
    ALONE("session", session), ALONE("tty", tty), ALONE("signals", signal_sets), ALONE("seccomp", seccomp_mode),
    ALONE("keyring", keyring), ALONE("lsm", lsm), ALONE("net", net), ALONE("pause", pause_for_ever),
    ALONE("stdin", standard_input), ALONE("state", standard_input), ALONE("serve", serve),
    /* files */
    {"stat", stat_path, 1, -1, "PATH"},
    {"fstat", stat_descriptor, 1, 1, "DESCRIPTOR"},
    {"statfs", statfs_path, 1, -1, "PATH"},
    {"read", read_path, 1, 2, "PATH [BYTES]"},
    {"write", write_path, 1, -1, "PATH TEXT"},
    {"list", list_path, 1, -1, "FOLDER"},
    {"access", access_path, 2, 2, "PATH LETTERS-OF-frwx"},
    {"open", open_path, 1, 2, "PATH [r|w|rw|dir|path|nofollow,...]"},
    {"mkdir", mkdir_path, 1, 2, "PATH [MODE]"},
    {"rmdir", rmdir_path, 1, -1, "PATH"},
    {"unlink", unlink_path, 1, -1, "PATH"},
    {"symlink", symlink_path, 2, -1, "TARGET PATH"},
    {"link", link_path, 2, -1, "OLD NEW"},
    {"rename", rename_path, 2, -1, "OLD NEW"},
    {"chmod", chmod_path, 2, 2, "PATH OCTAL-MODE"},
    {"chown", chown_path, 3, 3, "PATH UID GID"},
    {"mknod", mknod_path, 2, 4, "PATH c|b|p [MAJOR MINOR]"},
    {"chdir", change_folder, 1, -1, "PATH"},
    {"mount", mount_path, 2, 5, "SOURCE TARGET [TYPE [FLAGS [DATA]]], - for none"},
    {"umount", umount_path, 1, 2, "PATH [force|detach|expire|nofollow,...]"},
    {"chroot", change_root, 1, -1, "PATH"},
    {"unshare", leave_namespaces, 1, 1, "NAME,..."},
    {"setns", enter_namespace, 1, -1, "PATH"},
    {"sethostname", set_host_name, 1, -1, "NAME"},
    /* what the process does */
    {"exec", exec_program, 1, MAX_WORDS, "PATH [ARGUMENT...]"},
    {"try", try_call, 1, 7, "SYSTEM-CALL [NUMBER|@TEXT|buffer...]"},
    {"try-thread", try_in_thread, 1, 7, "SYSTEM-CALL [NUMBER|@TEXT|buffer...]"},
    {"fork", fork_many, 1, 1, "COUNT"},
    {"alloc", allocate, 1, 2, "MIB [MILLISECONDS-TO-HOLD]"},
    {"spin", spin, 1, 1, "MILLISECONDS"},
    {"sleep", sleep_a_while, 1, 1, "MILLISECONDS"},
    {"await", await_file, 1, 2, "PATH [SECONDS]"},
    {"exit", end_now, 1, 1, "CODE"},
    {"die", die, 1, 1, "SIGNAL"},
    {"wait-signal", wait_signal, 0, 1, "[SECONDS]"},
    {"echo", echo, 0, -1, "TEXT"},
    {"notify", notify, 1, -1, "TEXT"},
    {"to", print_to, 1, -1, "FILE"},
    {0}};

/* Carries out a command; its result goes to `out`. */
static int carry_out(struct call *call) {
    static char usage[128];
    const struct command *row = commands;
    while (row->name && strcmp(row->name, call->words[-1]))
        row++;
    if (!row->name) {
        complaint = "unknown command";
        return FAULT;
    }
    snprintf(usage, sizeof usage, "usage: %s %s", row->name, row->usage);
    complaint = usage;
    if (call->count < row->least || (row->most >= 0 && call->count > row->most))
        return USAGE;
    return row->function(call);
}

static void run(const char *line) {
    if (!strcmp(line, "drain")) {
        swallow_input();
        return;
    }
    char *copy = strdup(line), *words[MAX_WORDS + 2], *at = copy;
    struct call call = {line, -1, words + 1, copy};
    if (!copy)
        _exit(124);
    while (at && call.count < MAX_WORDS)
        words[++call.count] = strsep(&at, " ");
    words[call.count + 1] = NULL;
    call.count += at != NULL; /* there are more: too many for every command that counts them */
    begin_line(line);
    name("result");
    int fault = carry_out(&call);
    if (fault) {
        begin_line(line);
        FIELD(fault > 0 ? "errno" : "error", fault > 0 ? error_name(fault) : complaint);
        faulty = faulty || fault < 0;
    } else if (out.bytes[out.length - 1] == ':')
        boolean(true);
    end_line();
    free(copy);
}

int main(int argc, char **words, char **envp) {
    arguments = words;
    environment = envp;
    sigprocmask(SIG_SETMASK, NULL, &first_mask);
    sigaction(SIGCHLD, NULL, &first_child_action);
    for (int i = 1; i < argc; i++)
        run(words[i]);
    return faulty ? 125 : 0;
}
