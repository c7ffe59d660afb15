"""THE command table: every command and every option, once.

Hot module. `fastargs` parses argv by this table, `cli_click` renders help, usage errors and completion from it. An
option is a tuple (names, kind, metavar, help); its key is the first name without dashes. Kinds: FLAG takes no value,
TEXT one, NUMBER one that is a decimal number >= 0.
"""

from __future__ import annotations

FLAG, TEXT, NUMBER = "flag", "text", "number"

GLOBAL = (
    (("--root",), TEXT, "DIR", "where the state of containers is kept (default: /run/pyrun)"),
    (("--log",), TEXT, "FILE", "where errors and warnings are written too (default: standard error alone)"),
    (("--log-format",), TEXT, "FORMAT", "text (default) or json"),
    (("--log-level",), TEXT, "LEVEL", "error, warning (default), info or debug"),
    (("--debug",), FLAG, "", "the same as --log-level debug"),
    (("--systemd-cgroup",), FLAG, "", "let systemd make the cgroups (not supported yet)"),
    (("--cgroup-manager",), TEXT, "MANAGER", "cgroupfs (default); systemd and disabled are not supported yet"),
    (("--rootless",), TEXT, "true|false|auto", "ignore cgroup errors that come from missing rights (only false and auto)"),
    (("--version", "-v"), FLAG, "", "print the version"),
)  # fmt: skip

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
        ((("--all", "-a"), FLAG, "", "signal all of the container's processes"),),
        "send a signal (default: SIGTERM) to a container's process",
        True,
    ),
    "delete": (
        ("ID",),
        ((("--force", "-f"), FLAG, "", "kill the container first; an unknown ID is no error"),),
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
            (("--format", "-f"), TEXT, "FORMAT", "table (default) or json"),
            (("--quiet", "-q"), FLAG, "", "print only ids"),
        ),
        "list containers",
        True,
    ),
    "spec": (
        (),
        (
            _BUNDLE,
            (("--rootless",), FLAG, "", "for a user who is not root"),
        ),
        "write a default config.json",
        False,
    ),
    "features": ((), (), "print what this runtime supports, as the spec's features document", False),
    "validate": (
        ("[BUNDLE]",),
        (
            (("--format", "-f"), TEXT, "FORMAT", "text (default) or json"),
            (("--config",), TEXT, "FILE", "the configuration (default: config.json in the bundle)"),
        ),
        "report every error of a bundle's configuration at once",
        False,
    ),
    "completion": (("SHELL",), (), "print a completion script for bash, zsh or fish", False),
    "help": (("[COMMAND]",), (), "explain a command", False),
    "seccomp-compile": ((), (), "compile a seccomp profile on standard input to BPF (used by create)", False),
}  # fmt: skip

# Commands that are not for people: not shown in help.
HIDDEN = ("seccomp-compile",)
