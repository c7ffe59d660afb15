/* Stage 2 becomes the program's user with its limits, capabilities and seccomp filter. */
#ifndef STAGE2_IDENTITY_H
#define STAGE2_IDENTITY_H
#include "stage2_filter.h"

#include <linux/openat2.h>

#define CAP_SYS_ADMIN_BIT (1ULL << CAP_SYS_ADMIN)

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

/* What a security module shall make of the next program that is executed. It is written by this process itself, in
 * the procfs `proc`, which is given up then. The label is in the report if it is refused. */
static void set_labels(void)
{
    int proc = (int)number();
    uint64_t size, count = number();
    for (uint64_t i = 0; i < count; i++) {
        enum about about = (enum about)number();
        const char *path = text(), *label = bytes(&size);
        for (report.size = 0; report.size < size && report.size < LAST_WORDS; report.size++)
            report.text[report.size] = label[report.size];
        long fd = sys(SYS_openat, proc, path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0);
        must(fd, about, 0);
        must(sys(SYS_write, fd, label, size), about, 0);
        sys(SYS_close, fd);
        report.size = 0;
    }
    if (proc >= 0)
        sys(SYS_close, proc);
}

struct identity {
    uint64_t all, bounding, effective, permitted, inheritable, ambient; /* `all`: permitted as we are now */
    uint64_t no_new_privileges;
};

/* process.cwd, where root of our namespace may not enter it: now as the program's user, with its groups. As before, no
 * magic link is followed, and what we stand in must be below our root (CVE-2024-21626). */
static void enter_cwd(const char *cwd)
{
    static char where[4096];
    struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                           .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    long root = sys(SYS_openat, AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    must(root, CWD, 0);
    long fd = sys(SYS_openat2, root, cwd, &how, sizeof how);
    must(fd, CWD, 0);
    must(sys(SYS_fchdir, fd), CWD, 0);
    must(sys(SYS_getcwd, where, sizeof where), CWD, 0);
    must(*where == '/' ? 0 : -EXDEV, OUTSIDE, 0); /* else "(unreachable)/..." */
    sys(SYS_close, fd);
    sys(SYS_close, root);
}

/* The program's user with its rights, and CAP_SYS_ADMIN beside them if the filter is to be loaded later and needs it:
 * then it is what is returned. */
static uint64_t become(const struct identity *id, const struct filter *filter)
{
    sys(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); /* the caller's; EINVAL: there are none */
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
    const char *cwd = text();
    if (*cwd)
        enter_cwd(cwd);
    /* What the program may do after execve follows from its uid and the inheritable, bounding and ambient sets; what
     * is permitted until then only matters under no_new_privs. So keeping CAP_SYS_ADMIN until the filter is loaded gives
     * the program nothing. */
    uint64_t extra = filter->wanted && !id->no_new_privileges ? CAP_SYS_ADMIN_BIT & id->all : 0;
    set_capabilities(id->effective | extra, id->permitted | extra, id->inheritable, CAPABILITIES);
    for (unsigned long cap = 0; cap < 64; cap++)
        if (id->ambient >> cap & 1)
            must(sys(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0), AMBIENT, cap);
    if (id->no_new_privileges)
        must(sys(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), NO_NEW_PRIVILEGES, 0);
    sys(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0); /* a change of identity may have ended it (fs.suid_dumpable) */
    return extra;
}
#endif
