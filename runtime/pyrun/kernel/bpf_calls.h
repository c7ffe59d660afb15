/* The second part of kernel.c, which includes it: bpf(2), for the device programs of cgroup v2. */
#include <linux/bpf.h>

static long bpf(int command, union bpf_attr *attr) { return result(syscall(SYS_bpf, command, attr, sizeof *attr)); }
static uint64_t address(const void *pointer) { return (uint64_t)(uintptr_t)pointer; }

/* The licence matters only to programs that call helpers of the kernel; these call none. */
long k_bpf_load_device_program(const char *instructions, unsigned int count, const char *name)
{
    union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE, .insns = address(instructions),
                           .insn_cnt = count, .license = address("Apache-2.0")};
    strncpy(attr.prog_name, name, sizeof attr.prog_name - 1);
    return bpf(BPF_PROG_LOAD, &attr);
}

long k_bpf_attach_device_program(int cgroup_fd, int program_fd, int replaced_fd)
{
    union bpf_attr attr = {.target_fd = (uint32_t)cgroup_fd, .attach_bpf_fd = (uint32_t)program_fd,
                           .attach_type = BPF_CGROUP_DEVICE, .attach_flags = BPF_F_ALLOW_MULTI};
    if (replaced_fd >= 0) {
        attr.attach_flags |= BPF_F_REPLACE;
        attr.replace_bpf_fd = (uint32_t)replaced_fd;
    }
    return bpf(BPF_PROG_ATTACH, &attr);
}

long k_bpf_detach_device_program(int cgroup_fd, int program_fd)
{
    union bpf_attr attr = {.target_fd = (uint32_t)cgroup_fd, .attach_bpf_fd = (uint32_t)program_fd,
                           .attach_type = BPF_CGROUP_DEVICE};
    return bpf(BPF_PROG_DETACH, &attr);
}

/* The number of programs attached to this cgroup itself, their ids in `ids`. */
long k_bpf_device_programs(int cgroup_fd, unsigned int *ids, unsigned int room)
{
    union bpf_attr attr = {.query = {.target_fd = (uint32_t)cgroup_fd, .attach_type = BPF_CGROUP_DEVICE,
                                     .prog_ids = address(ids), .prog_cnt = room}};
    long r = bpf(BPF_PROG_QUERY, &attr);
    return r < 0 ? r : (long)attr.query.prog_cnt;
}

long k_bpf_program_by_id(unsigned int id)
{
    union bpf_attr attr = {.prog_id = id};
    return bpf(BPF_PROG_GET_FD_BY_ID, &attr);
}

/* `name` has room for 17 characters. */
long k_bpf_program_name(int program_fd, char *name)
{
    struct bpf_prog_info info = {0};
    union bpf_attr attr = {.info = {.bpf_fd = (uint32_t)program_fd, .info_len = sizeof info, .info = address(&info)}};
    long r = bpf(BPF_OBJ_GET_INFO_BY_FD, &attr);
    memcpy(name, info.name, sizeof info.name);
    name[sizeof info.name] = '\0';
    return r;
}
