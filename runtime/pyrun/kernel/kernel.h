/* The kernel, one function per system call and no policy. Python sees exactly these declarations: build.py hands
 * this file to cffi. Each function returns the system call's result, or -errno. Integers are fds, flags and sizes as
 * in the call's man page; text arguments are NUL-terminated. */

/* processes and namespaces */
long k_clone3(unsigned long long flags, int cgroup_fd);
long k_unshare(unsigned long flags);
long k_setns(int fd, int type);
long k_pidfd_open(int pid);
long k_pidfd_send_signal(int pidfd, int signal);
long k_execveat(int dirfd, const char *path, char **argv, char **envp, int flags);
long k_prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d);
long k_raise_hard_limit(int pid, int resource, unsigned long long hard);
long k_all_cpus(void);
long k_sched_setattr(int pid, const char *attributes);
long k_ioprio_set(int pid, int priority);
long k_permitted_capabilities(unsigned long long *permitted);
long k_sethostname(const char *name, size_t size);
long k_setdomainname(const char *name, size_t size);
long k_set_up_interface(const char *name);
long k_join_session_keyring(const char *name);
long k_seccomp_knows(unsigned long flags);

/* signals: masks are bit sets, bit N-1 for signal N */
long k_signal_mask(unsigned long long mask);
long k_signalfd(unsigned long long mask);
long k_default_signals(unsigned long long blocked);
long k_own_signals(void);

/* mounts */
long k_open_tree(int dirfd, const char *path, unsigned int flags);
long k_move_mount(int from_fd, const char *from, int to_fd, const char *to, unsigned int flags);
long k_fsopen(const char *type, unsigned int flags);
long k_fspick(int dirfd, const char *path, unsigned int flags);
long k_fsconfig(int fd, unsigned int command, const char *key, const char *value, int aux);
long k_fsmount(int fd, unsigned int flags, unsigned int attributes);
long k_mount_setattr(int fd, const char *path, unsigned int flags, unsigned long long set, unsigned long long clear,
                     unsigned long long propagation, int userns_fd);
long k_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data);
long k_umount2(const char *target, int flags);
long k_pivot_root(const char *new_root, const char *put_old);
long k_statfs_type(int fd);

/* files */
long k_openat2(int dirfd, const char *path, unsigned long long flags, unsigned long long mode,
               unsigned long long resolve);
long k_close_range(unsigned int first, unsigned int last, unsigned int flags);
long k_flock(int fd, int operation);
long k_memfd_create(const char *name, unsigned int flags);
long k_seal(int fd);
long k_poll(struct pollfd *fds, unsigned int count, int milliseconds);

/* events: descriptors that never block */
long k_eventfd(void);
long k_inotify(const char *path, unsigned int mask);

/* sockets: AF_UNIX; SOCK_SEQPACKET for the pair, SOCK_STREAM for named ones. k_connect waits so many seconds at most
 * for a listener whose queue is full; 0 for as long as it takes. */
long k_socketpair(int *fds);
long k_listen(const char *path);
long k_connect(const char *path, unsigned int seconds);
long k_datagram(const char *path, int listens);
long k_netlink(void);
long k_send_fd(int sock, const char *data, size_t size, int fd);
long k_receive(int sock, char *data, size_t size, int *fd);

/* terminals */
long k_pty_unlock(int master);
long k_pty_peer(int master);
long k_set_controlling_terminal(int fd);
long k_set_window_size(int fd, unsigned short rows, unsigned short columns);
long k_copy_window_size(int from_fd, int to_fd);
long k_terminal_plain(int fd);
long k_terminal_raw(int fd, char *saved);
long k_terminal_restore(int fd, const char *saved);

/* bpf(2): programs that decide about a cgroup's devices (BPF_PROG_TYPE_CGROUP_DEVICE) */
long k_bpf_load_device_program(const char *instructions, unsigned int count, const char *name);
long k_bpf_attach_device_program(int cgroup_fd, int program_fd, int replaced_fd);
long k_bpf_detach_device_program(int cgroup_fd, int program_fd);
long k_bpf_device_programs(int cgroup_fd, unsigned int *ids, unsigned int room);
long k_bpf_program_by_id(unsigned int id);
long k_bpf_program_name(int program_fd, char *name);
