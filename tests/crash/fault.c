/* Run a command and disturb one system call of one of its processes.
 *
 *   fault LOG PROCESS CALL ACTION COMMAND [ARGUMENT]...
 *   fault LOG always NUMBER=ERRNO[,NUMBER=ERRNO]... COMMAND [ARGUMENT]...
 *
 * PROCESS counts the processes as they come to be, 0 being the command itself; CALL counts the system calls of that
 * process, from 1 on. At the entry of that call ACTION happens: "kill" and other signals by number as "signal:15"
 * (SIGKILL takes effect before the call does), or "error:28": the call isn't made and fails with that errno.
 * With `always`, the calls of these numbers fail in every process: a kernel that lacks them.
 * LOG gets a line "PROCESS NUMBER" for each system call entered. Ends as soon as the command does, with its exit
 * status or 128 + its signal; processes that are left then run on, untraced.
 *
 * strace's fault injection counts each system call by itself, in all processes at once; this counts them in order,
 * in one process, so that every instant is one point. */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_PROCESSES = 512, MAX_ALWAYS = 16 };

struct tracee {
    pid_t pid;
    int count, inside;
    long failing; /* the errno that the call we are in is to fail with */
};

static struct tracee tracees[MAX_PROCESSES];
static int known;

static struct tracee *find(pid_t pid)
{
    for (int i = known - 1; i >= 0; i--)
        if (tracees[i].pid == pid)
            return &tracees[i];
    if (known == MAX_PROCESSES)
        exit(125);
    tracees[known].pid = pid;
    return &tracees[known++];
}

#if defined(__x86_64__)
static long call_number(pid_t pid)
{
    struct user_regs_struct registers;
    return ptrace(PTRACE_GETREGS, pid, 0, &registers) ? -1 : (long)registers.orig_rax;
}

static void skip_call(pid_t pid)
{
    struct user_regs_struct registers;
    ptrace(PTRACE_GETREGS, pid, 0, &registers);
    registers.orig_rax = (unsigned long)-1;
    ptrace(PTRACE_SETREGS, pid, 0, &registers);
}

static void set_result(pid_t pid, long result)
{
    struct user_regs_struct registers;
    ptrace(PTRACE_GETREGS, pid, 0, &registers);
    registers.rax = (unsigned long)result;
    ptrace(PTRACE_SETREGS, pid, 0, &registers);
}
#elif defined(__aarch64__)
static long call_number(pid_t pid)
{
    int number = -1;
    struct iovec part = {&number, sizeof number};
    return ptrace(PTRACE_GETREGSET, pid, NT_ARM_SYSTEM_CALL, &part) ? -1 : number;
}

static void skip_call(pid_t pid)
{
    int number = -1;
    struct iovec part = {&number, sizeof number};
    ptrace(PTRACE_SETREGSET, pid, NT_ARM_SYSTEM_CALL, &part);
}

static void set_result(pid_t pid, long result)
{
    struct user_regs_struct registers;
    struct iovec part = {&registers, sizeof registers};
    ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &part);
    registers.regs[0] = (unsigned long)result;
    ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &part);
}
#endif

static long always_number[MAX_ALWAYS], always_error[MAX_ALWAYS];
static int always;

static void entered(struct tracee *one, FILE *log, int process, int call, const char *action)
{
    long number = call_number(one->pid);
    one->count++;
    fprintf(log, "%d %ld\n", (int)(one - tracees), number);
    for (int i = 0; i < always; i++)
        if (always_number[i] == number)
            one->failing = always_error[i];
    if (!always && one - tracees == process && one->count == call) {
        if (strncmp(action, "error:", 6) == 0)
            one->failing = atol(action + 6);
        else
            syscall(SYS_tgkill, one->pid, one->pid, strcmp(action, "kill") ? atoi(action + 7) : SIGKILL);
    }
    if (one->failing)
        skip_call(one->pid);
}

int main(int argc, char **argv)
{
    if (argc < 5)
        return 125;
    FILE *log = fopen(argv[1], "we");
    if (!log)
        return 125;
    int process = -1, call = -1, command = 4;
    const char *action = "";
    if (strcmp(argv[2], "always") == 0) {
        for (char *each = strtok(argv[3], ","); each && always < MAX_ALWAYS; each = strtok(NULL, ",")) {
            always_number[always] = atol(each);
            always_error[always++] = atol(strchr(each, '=') + 1);
        }
    } else {
        process = atoi(argv[2]);
        call = atoi(argv[3]);
        action = argv[4];
        command = 5;
    }
    pid_t main_pid = fork();
    if (main_pid == 0) {
        raise(SIGSTOP);
        execv(argv[command], argv + command);
        _exit(125);
    }
    int status;
    waitpid(main_pid, &status, WUNTRACED);
    /* Seized, and not attached: an attached process that is born when we end would stay stopped. */
    if (ptrace(PTRACE_SEIZE, main_pid, 0,
               PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                   PTRACE_O_TRACEEXEC))
        return 125;
    find(main_pid);
    kill(main_pid, SIGCONT);
    for (;;) {
        pid_t pid = waitpid(-1, &status, __WALL);
        if (pid < 0)
            return 125;
        if (!WIFSTOPPED(status)) {
            if (pid != main_pid)
                continue;
            fclose(log);
            return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
        }
        struct tracee *one = find(pid);
        int signal = WSTOPSIG(status), event = status >> 16;
        long deliver = 0;
        if (signal == (SIGTRAP | 0x80)) {
            one->inside = !one->inside;
            if (one->inside)
                entered(one, log, process, call, action);
            else if (one->failing) {
                set_result(pid, -one->failing);
                one->failing = 0;
            }
        } else if (event == PTRACE_EVENT_CLONE || event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK) {
            unsigned long child;
            ptrace(PTRACE_GETEVENTMSG, pid, 0, &child);
            find((pid_t)child);
        } else if (!event)
            deliver = signal;
        ptrace(PTRACE_SYSCALL, pid, 0, deliver);
    }
}
