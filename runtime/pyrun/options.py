"""THE command table: every command and every option, once.

Hot module. `fastargs` parses argv by this table, `cli_click` renders help and usage errors from it, and completion
scripts and docs/cli.md are made from it. An option is a tuple (names, kind, metavar, help); its key is the first name
without dashes. Kinds: FLAG takes no value, TEXT one, NUMBER one that is a decimal number >= 0; COLD_FLAG is a FLAG that
needs the full interpreter. A metavar with "|" in it lists the values that there are.
"""

from __future__ import annotations

FLAG, TEXT, NUMBER, COLD_FLAG = "flag", "text", "number", "cold flag"

GLOBAL = (
    (("--root",), TEXT, "DIR", "where the state of containers is kept (default: /run/pyrun)"),
    (("--log",), TEXT, "FILE", "where errors and warnings are written too (default: standard error alone)"),
    (("--log-format",), TEXT, "text|json", "how they are written there (default: text)"),
    (("--log-level",), TEXT, "error|warning|info|debug", "the least that is worth writing (default: warning)"),
    (("--debug",), FLAG, "", "the same as --log-level debug"),
    (("--systemd-cgroup",), FLAG, "", "let systemd make the cgroups (not supported yet)"),
    (("--cgroup-manager",), TEXT, "cgroupfs|systemd|disabled", "who makes the cgroups (so far cgroupfs only)"),
    (("--rootless",), TEXT, "true|false|auto", "whether cgroup errors for lack of rights are ignored (true: not yet)"),
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

# name -> (positional arguments, options, help, hot?). An argument in brackets may be left out.
COMMANDS = {
    "create": (("ID",), _CREATE, "create a container, ready to be started", True),
    "start": (("ID",), (), "run the program of a created container", True),
    "state": (("ID",), (), "print a container's state as JSON", True),
    "kill": (
        ("ID", "[SIGNAL]"),
        ((("--all", "-a"), FLAG, "", "signal all of the container's processes"), _REGEX),
        "send a signal (default: SIGTERM) to a container's process",
        True,
    ),
    "delete": (
        ("ID",),
        ((("--force", "-f"), FLAG, "", "kill the container first; an unknown ID is no error"), _REGEX),
        "delete a stopped container and all that was made for it",
        True,
    ),
    "run": (
        ("ID",),
        (
            *_CREATE,
            (("--detach", "-d"), FLAG, "", "return when the program runs"),
            (("--keep",), FLAG, "", "keep the stopped container instead of deleting it"),
        ),
        "create and start a container, wait for its program, delete it",
        True,
    ),
    "list": (
        (),
        (
            (("--format", "-f"), TEXT, "table|json", "how to print them (default: table)"),
            (("--quiet", "-q"), FLAG, "", "print only ids"),
        ),
        "list containers",
        True,
    ),
    "spec": (
        (),
        (
            _BUNDLE,
            (("--file", "-f"), TEXT, "FILE", "write there, - for standard output (default: config.json in the bundle)"),
            (("--rootless",), FLAG, "", "for a user who is not root"),
        ),
        "write a default config.json",
        False,
    ),
    "features": ((), (), "print what this runtime supports, as JSON", False),
    "validate": (
        ("[BUNDLE]",),
        (
            (("--format", "-f"), TEXT, "text|json", "how to print them (default: text)"),
            (("--config",), TEXT, "FILE", "the configuration (default: config.json in the bundle)"),
        ),
        "report every error of a bundle's configuration at once",
        False,
    ),
    "completion": (("bash|zsh|fish",), (), "print a shell's completion script", False),
    "help": (("[COMMAND]",), (), "explain a command", False),
    "seccomp-compile": ((), (), "compile a seccomp profile on standard input to BPF (used by create)", False),
}  # fmt: skip

# Commands that are not for people: not shown in help.
HIDDEN = ("seccomp-compile",)
