"""THE command table: every command and every option, once.

Hot module. `parse` parses argv by this table, `click_` renders help and usage errors from it, `dispatch` runs the
commands, and completion scripts and the pages of docs/pages are made from it.

A new command is one line here and one file in commands/, named after it, with a function `run(root, values,
arguments)` that returns the exit code.

An option is a tuple (names, kind, metavar, help); its key is the first name without dashes. Kinds: FLAG takes no value
but "=true" and "=false", TEXT one, NUMBER one that is a decimal number >= 0, MANY a list of TEXTs, one for each time
that it is given; COLD_FLAG is a FLAG that needs the full interpreter. A metavar with "|" in it lists the values that
there are. An argument that ends with "..." stands for all words that remain, and then options stand before the first
argument only.
"""

from __future__ import annotations

# What a FLAG may be given after "=": what Go's strconv.ParseBool takes, as callers of other runtimes write it.
BOOLEANS = {
    **dict.fromkeys(("true", "True", "TRUE", "t", "T", "1"), True),
    **dict.fromkeys(("false", "False", "FALSE", "f", "F", "0"), False),
}

HOT, COLD = True, False
FLAG, TEXT, NUMBER, MANY, COLD_FLAG = "flag", "text", "number", "many", "cold flag"

GLOBAL = (
    (("--root",), TEXT, "DIR", "where the state of containers is kept (default: /run/pyrun)"),
    (("--log",), TEXT, "FILE", "where errors and warnings are written too (default: standard error alone)"),
    (("--log-format",), TEXT, "text|json", "how they are written there (default: text)"),
    (("--log-level",), TEXT, "error|warning|info|debug", "the least that is worth writing (default: warning)"),
    (("--debug",), FLAG, "", "the same as --log-level debug"),
    (("--systemd-cgroup",), FLAG, "", "let systemd make the cgroups (on cgroup v2)"),
    (("--cgroup-manager",), TEXT, "cgroupfs|systemd|disabled", "who makes the cgroups (default: cgroupfs)"),
    (("--rootless",), TEXT, "true|false|auto", "do without cgroups that can't be made, if no limit is asked for"),
    (("--version", "-v"), FLAG, "", "print the version"),
)  # fmt: skip

_REGEX = (("--regex", "-r"), COLD_FLAG, "", "ID is a regular expression: all containers whose id has it")
_BUNDLE = (("--bundle", "-b"), TEXT, "DIR", "the bundle (default: the current directory)")
_CREATE = (
    _BUNDLE,
    (("--config", "-f"), TEXT, "FILE", "the configuration (default: config.json in the bundle)"),
    (("--console-socket",), TEXT, "SOCKET", "unix socket that gets the master side of the terminal"),
    (("--pid-file",), TEXT, "FILE", "write the process id there"),
    (("--pidfd-socket",), TEXT, "SOCKET", "unix socket that gets a pidfd of the container's process"),
    (("--no-pivot",), FLAG, "", "do not use pivot_root, for a root file system on a ramdisk"),
    (("--no-new-keyring",), FLAG, "", "keep the caller's session keyring"),
    (("--preserve-fds",), NUMBER, "N", "pass N more file descriptors after stdio and $LISTEN_FDS"),
    (("--no-subreaper",), FLAG, "", "do not become the reaper of the container's orphans"),
)
_UPDATE = (
    (
        ("--resources", "-r"),
        TEXT,
        "FILE",
        "linux.resources as JSON, - for standard input; then no other option",
    ),
    (("--blkio-weight",), TEXT, "WEIGHT", "share of block I/O, 10 to 1000"),
    (("--cpu-burst",), TEXT, "MICROSECONDS", "CPU time that may be saved up and used beyond the quota"),
    (("--cpu-idle",), TEXT, "0|1", "1 for SCHED_IDLE: CPU time only when nobody else wants it"),
    (("--cpu-period",), TEXT, "MICROSECONDS", "the period that --cpu-quota counts in"),
    (("--cpu-quota",), TEXT, "MICROSECONDS", "CPU time in a period, -1 for unlimited"),
    (("--cpu-rt-period",), TEXT, "MICROSECONDS", "the period that --cpu-rt-runtime counts in"),
    (("--cpu-rt-runtime",), TEXT, "MICROSECONDS", "real-time CPU time in a period"),
    (("--cpu-share",), TEXT, "SHARES", "share of the CPUs, 2 to 262144, where 1024 is usual"),
    (("--cpuset-cpus",), TEXT, "LIST", "the CPUs to use, such as 0-3,7"),
    (("--cpuset-mems",), TEXT, "LIST", "the memory nodes to use"),
    (("--kernel-memory",), TEXT, "BYTES", "limit of kernel memory (cgroup v1 before Linux 5.16)"),
    (("--kernel-memory-tcp",), TEXT, "BYTES", "limit of TCP buffers (cgroup v1)"),
    (("--l3-cache-schema",), TEXT, "SCHEMA", "Intel RDT: the L3 cache of the container's own class"),
    (("--mem-bw-schema",), TEXT, "SCHEMA", "Intel RDT: the memory bandwidth of the container's own class"),
    (("--memory",), TEXT, "BYTES", "limit of memory, -1 for unlimited; 64M and 1.5g are understood"),
    (("--memory-reservation",), TEXT, "BYTES", "memory that is kept for it when there is little"),
    (("--memory-swap",), TEXT, "BYTES", "limit of memory and swap together, -1 for unlimited"),
    (("--pids-limit",), TEXT, "NUMBER", "how many tasks there may be, -1 for unlimited"),
)

# name -> (positional arguments, options, help, HOT or COLD). A hot command's module is frozen into the binary, and may
# import nothing but hot modules; a cold one runs in the full interpreter (base/cold.py), and may import all. An
# argument in brackets may be left out.
COMMANDS = {
    "create": (("ID",), _CREATE, "create a container, ready to be started", HOT),
    "start": (("ID",), (), "run the program of a created container", HOT),
    "state": (("ID",), (), "print a container's state as JSON", HOT),
    "kill": (
        ("ID", "[SIGNAL]"),
        ((("--all", "-a"), FLAG, "", "signal all of the container's processes"), _REGEX),
        "send a signal (default: SIGTERM) to a container's process",
        HOT,
    ),
    "delete": (
        ("ID",),
        ((("--force", "-f"), FLAG, "", "kill the container first; an unknown ID is no error"), _REGEX),
        "delete a stopped container and all that was made for it",
        HOT,
    ),
    "run": (
        ("ID",),
        (
            *_CREATE,
            (("--detach", "-d"), FLAG, "", "return when the program runs"),
            (("--keep",), FLAG, "", "keep the stopped container instead of deleting it"),
            (("--pipes",), FLAG, "", "give the program pipes instead of our stdin, stdout and stderr, and copy"),
        ),
        "create and start a container, wait for its program, delete it",
        HOT,
    ),
    "exec": (
        ("ID", "[COMMAND]..."),
        (
            (("--process", "-p"), TEXT, "FILE", "the process document, - for standard input; COMMAND is then left out"),
            (("--env", "-e"), MANY, "NAME=VALUE", "add to the environment; may be given again"),
            (("--cwd",), TEXT, "DIR", "the working directory in the container"),
            (("--user", "-u"), TEXT, "USER[:GROUP]", "names or numbers, looked up in the container's files"),
            (("--additional-gids", "-g"), MANY, "GID", "one more supplementary group; may be given again"),
            (("--cap", "-c"), MANY, "CAP_NAME", "one more capability; may be given again"),
            (("--no-new-privs",), FLAG, "", "set no_new_privs"),
            (("--tty", "-t"), FLAG, "", "give the program a terminal"),
            (("--console-socket",), TEXT, "SOCKET", "unix socket that gets the master side of the terminal"),
            (("--detach", "-d"), FLAG, "", "return when the program runs"),
            (("--pid-file",), TEXT, "FILE", "write the process id there"),
            (("--pidfd-socket",), TEXT, "SOCKET", "unix socket that gets a pidfd of the process"),
            (("--preserve-fds",), NUMBER, "N", "pass N more file descriptors after stdio and $LISTEN_FDS"),
            (("--cgroup",), MANY, "[CONTROLLER:]PATH", "a cgroup below the container's that the process goes to"),
            (("--ignore-paused",), FLAG, "", "do not refuse a paused container: the program runs when it is resumed"),
            (("--process-label",), TEXT, "LABEL", "SELinux label of the program"),
            (("--apparmor",), TEXT, "PROFILE", "AppArmor profile of the program"),
        ),
        "run one more program in a container",
        HOT,
    ),
    "list": (
        (),
        (
            (("--format", "-f"), TEXT, "table|json", "how to print them (default: table)"),
            (("--quiet", "-q"), FLAG, "", "print only ids"),
        ),
        "list containers",
        HOT,
    ),
    "ps": (
        ("ID", "[PS-ARGUMENTS]..."),
        ((("--format", "-f"), TEXT, "table|json", "how to print them (default: table)"),),
        "list a container's processes by their numbers on the host",
        HOT,
    ),
    "pause": (("ID",), (), "stop all processes of a container for a while", HOT),
    "resume": (("ID",), (), "let all processes of a paused container go on", HOT),
    "update": (("ID",), _UPDATE, "change a container's limits", HOT),
    "events": (
        ("ID",),
        (
            (("--interval",), TEXT, "DURATION", "how often statistics are printed, such as 5s or 100ms (default: 5s)"),
            (("--stats",), FLAG, "", "print the statistics once"),
        ),
        "print a container's statistics as JSON, and tell when it runs out of memory",
        HOT,
    ),
    "spec": (
        (),
        (
            _BUNDLE,
            (("--file", "-f"), TEXT, "FILE", "write there, - for standard output (default: config.json in the bundle)"),
            (("--rootless",), FLAG, "", "for a user who is not root"),
        ),
        "write a default config.json",
        COLD,
    ),
    "features": ((), (), "print what this runtime supports, as JSON", COLD),
    "validate": (
        ("[BUNDLE]",),
        (
            (("--format", "-f"), TEXT, "text|json", "how to print them (default: text)"),
            (("--config",), TEXT, "FILE", "the configuration (default: config.json in the bundle)"),
        ),
        "report every error of a bundle's configuration at once",
        COLD,
    ),
    "completion": (("bash|zsh|fish",), (), "print a shell's completion script", COLD),
    "help": (("[COMMAND]",), (), "explain a command", COLD),
    "seccomp-compile": ((), (), "compile a seccomp profile on standard input to BPF (used by create)", COLD),
}  # fmt: skip

# Commands that are not for people: not shown in help.
HIDDEN = ("seccomp-compile",)

# Commands that make a container: `dispatch` adds the global options about cgroups to their own. The others find in the
# container's record what was done.
MAKERS = ("create", "run")


def is_hot(command: str) -> bool:
    """Can the binary run this command itself? It can print its version, too, which is no entry of the table."""
    return command not in COMMANDS or COMMANDS[command][3] == HOT


def module(command: str) -> str:
    """Return the name of the module whose `run` carries a command out."""
    return f"pyrun.commands.{command.strip('-').replace('-', '_')}"


def hot_modules() -> list[str]:
    """Return the modules of all hot commands. No import statement names them, so the build asks for them here."""
    return [module(name) for name in ("--version", *COMMANDS) if is_hot(name)]
