/* Stage 2's plain orders: any system call, a text into a file, and the program's working directory. */
#ifndef STAGE2_PLAIN_H
#define STAGE2_PLAIN_H
#include "stage2_filter.h"

#include <linux/openat2.h>

#define CAP_SYS_ADMIN_BIT (1ULL << CAP_SYS_ADMIN)

static long set_capabilities(uint64_t effective, uint64_t permitted, uint64_t inheritable)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {
        {(uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable},
        {(uint32_t)(effective >> 32), (uint32_t)(permitted >> 32), (uint32_t)(inheritable >> 32)}};
    return sys(SYS_capset, &header, data);
}

static void call(void)
{
    uint64_t a[6] = {0};
    for (uint64_t i = 0; i + 2 < count_of(current); i++)
        a[i] = current->numbers[i + 2] + (current->numbers[1] >> i & 1 ? (uint64_t)data_of(current) : 0);
    must(sys(current->numbers[0], a[0], a[1], a[2], a[3], a[4], a[5]), 0);
}

static void call_each(void)
{
    uint64_t a[6] = {0};
    for (uint64_t i = 0; i + 3 < count_of(current); i++)
        a[i] = current->numbers[i + 3];
    for (uint64_t bit = 0; bit < 64; bit++)
        if (current->numbers[0] >> bit & 1) {
            a[current->numbers[2]] = bit;
            long r = sys(current->numbers[1], a[0], a[1], a[2], a[3], a[4], a[5]);
            if (r == -EINVAL)
                break; /* past the last that the kernel knows */
            must(r, bit);
        }
}

/* One write(2), by this process itself, to a file below a descriptor or to the descriptor; it is closed in the end. */
static void write_text(void)
{
    uint64_t at = current->numbers[1];
    const char *data = data_of(current);
    long fd = (int)current->numbers[0];
    if (at)
        must(fd = sys(SYS_openat, fd, data, O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0), 0);
    must(sys(SYS_write, fd, data + at, data_size(current) - at), 0);
    sys(SYS_close, fd);
}

/* process.cwd, where root of our namespace may not enter it: now as the program's user, with its groups. As before, no
 * magic link is followed. */
static void enter(void)
{
    struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                           .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    long root = sys(SYS_openat, AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    must(root, 0);
    long fd = sys(SYS_openat2, root, data_of(current), &how, sizeof how);
    must(fd, 0);
    must(sys(SYS_fchdir, fd), 0);
    sys(SYS_close, fd);
    sys(SYS_close, root);
}

/* What we stand in must be below our root (CVE-2024-21626): else the kernel says "(unreachable)/...". */
static void be_inside(void)
{
    static char where[4096];
    must(sys(SYS_getcwd, where, sizeof where), 0);
    must(*where == '/' ? 0 : -EXDEV, 0);
}
#endif
