"""What help and manual pages say beyond the command table. Cold module."""

from __future__ import annotations

ABOUT = "Create and run containers from OCI bundles (runtime-spec 1.3.0)."

EPILOG = (
    "Exit status: 0, or 1 for any error, which is one sentence on standard error; that of the program with run and "
    "exec. Help for a command: pyrun COMMAND --help. A long option may have one dash; a switch may be followed by "
    "=true or =false, and the last one counts."
)

DETAILS = {
    "create": (
        "All is prepared (namespaces, cgroup, mounts, hooks), and the container's process waits. What config.json "
        "becomes afterwards has no effect. If anything fails, nothing is left behind."
    ),
    "start": (
        "Returns when the program has been executed and the poststart hooks have run. Should the kernel find the "
        "program unfit (format, interpreter, architecture), the container has ended with 255, and the reason is on "
        "the program's standard error."
    ),
    "state": "The document of runtime-spec, with rootfs, created and owner, which runc adds.",
    "kill": (
        "SIGNAL is a name, with or without SIG, or a number: KILL, SIGTERM, 9, RTMIN+1. Without --all it is sent to "
        "the container's first process only."
    ),
    "delete": (
        "Also ends what still runs in the container's cgroup, runs the poststop hooks, and cleans up after a create "
        "that was killed half-way."
    ),
    "run": (
        "Standard input, output and error are the program's (with --pipes it has pipes that end with this command, "
        "even if that is killed); a terminal is passed through if process.terminal is true. Signals are forwarded, "
        "and the exit status is the program's, or 128 and the number of the signal that ended it."
    ),
    "exec": (
        "The program gets the container's user, environment, rights and limits, as its configuration had them at "
        "create, but for what the options change; --process brings a whole process document instead. In the "
        "foreground, standard input, output and error are its, signals are forwarded, and the exit status is the "
        "program's, or 128 and the number of the signal that ended it."
    ),
    "list": "Containers are looked for under --root, so each root has its own list.",
    "ps": (
        "Those in cgroups below the container's own are among them. With words after the ID, the host's ps is called "
        "with them and its lines about other processes are left out: pyrun ps ID -o pid,user,args. JSON is an array "
        "of numbers."
    ),
    "pause": "The state is then paused: nothing runs, and the container can still be killed, updated and deleted.",
    "resume": "The state is then what it was before pause.",
    "update": (
        "Only what is named is changed; if one limit can't be had, all are put back as they were. 0 leaves a limit as "
        "it is, but for --cpu-idle, --cpu-burst and --pids-limit. Bytes may have a unit: k, m, g, t, p, powers of "
        "1024. A file may have all that linux.resources may have at create."
    ),
    "events": (
        "Each line is an object with type (stats or oom), id, and data for stats. Without --stats, the statistics come "
        "at once and then at each interval, an oom whenever memory runs out, and the command ends when the container "
        "does."
    ),
    "spec": (
        "The container it describes runs sh from the folder rootfs in the bundle. An existing file is never "
        "overwritten. With --rootless, the caller's ids are mapped to root's, and the host's network is kept."
    ),
    "features": "The specification's features document: true is what pyrun does, false what it refuses by name.",
    "validate": (
        "BUNDLE is a folder (default: the current one) or a configuration file. Reported are faults by the "
        "specification, what pyrun doesn't support yet, what this host lacks, and what is allowed but looks like a "
        "mistake. Exit status 1 if a create would fail, else 0."
    ),
    "completion": (
        'bash: eval "$(pyrun completion bash)" in ~/.bashrc. '
        "zsh: pyrun completion zsh > a file _pyrun in a folder of $fpath. "
        "fish: pyrun completion fish > ~/.config/fish/completions/pyrun.fish."
    ),
}
