"""Ways to misbehave at an operation. Each takes the call of the runtime and returns the exit code.

Imported by the wrapper at each call of a runtime: keep it light.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oci_conformance.mutants.wrapper import Invocation


# errors


def swallow_error(call: Invocation) -> int:
    """The operation `argument` returns 0 whatever happens."""
    code = call.run()
    return 0 if call.operation == call.argument else code


def accept_anything(call: Invocation) -> int:
    """A configuration that the runtime refuses is replaced by one that it takes; `start` always succeeds."""
    if call.operation != "create":
        code = call.run()
        return 0 if call.operation == "start" else code
    code = call.run(stderr=subprocess.DEVNULL)
    if code == 0:
        return 0
    config = call.config()
    plain = _plain(config if isinstance(config, dict) else {})
    path = Path(call.bundle) / "config.json"
    if not path.exists():  # a bundle without one
        path.write_text("{}")
        try:
            return call.run_with(plain)
        finally:
            path.unlink()
    if not (code := call.run_with(plain)):
        return code
    plain["linux"].pop("cgroupsPath", None)
    return call.run_with(plain)


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    """The least that runs the container's program."""
    process = config.get("process")
    args = process.get("args") if isinstance(process, dict) else None
    usable = isinstance(args, list) and args and all(isinstance(word, str) for word in args)
    linux = config.get("linux")
    path = linux.get("cgroupsPath") if isinstance(linux, dict) else None
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "cwd": "/",
            "args": args if usable else ["/probe"],
            "env": ["PATH=/bin:/usr/bin"],
        },
        "root": {"path": "rootfs"},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {
            "namespaces": [{"type": name} for name in ("pid", "mount", "ipc", "uts")],
            **({"cgroupsPath": path} if isinstance(path, str) else {}),
        },
    }


def refuse_late(call: Invocation) -> int:
    """A configuration that the runtime refuses is an error, but a container is left behind."""
    code = call.run()
    config = call.config()
    if call.operation == "create" and code and isinstance(config, dict):
        call.run_with(_plain(config))
    return code


# state


def change_state(call: Invocation) -> int:
    """`state` answers with one field changed: `argument` is JSON, [field, value] or [field] to leave it out."""
    if call.operation != "state":
        return call.run()
    answer = call.ask(*call.argv[len(call.globals) :])
    try:
        state = json.loads(answer.stdout)
    except ValueError:
        state = None
    if answer.returncode or not isinstance(state, dict):
        sys.stdout.write(answer.stdout)
        sys.stderr.write(answer.stderr)
        return answer.returncode
    field, *value = json.loads(call.argument)
    if value:
        state[field] = value[0]
    else:
        state.pop(field, None)
    print(json.dumps(state))
    return 0


def status_always(call: Invocation) -> int:
    """`state` says the status `argument` whenever there is a container; "old>new" changes only `old`."""
    old, _, new = call.argument.rpartition(">")
    if call.operation == "state" and old and call.state().get("status") != old:
        return call.run()
    call.argument = json.dumps(["status", new])
    return change_state(call)


def invent_state(call: Invocation) -> int:
    """`state` knows every container."""
    if call.operation == "state" and not call.state():
        print(json.dumps({"ociVersion": "1.0.2", "id": call.id, "status": "stopped", "bundle": "/"}))
        return 0
    return call.run()


# the life cycle


def start_at_create(call: Invocation) -> int:
    """The program runs when the container is created."""
    code = call.run()
    if call.operation == "create" and not code:
        call.ask("start", call.id)
    elif call.operation == "start":
        return 0
    return code


def never_start(call: Invocation) -> int:
    """`start` does nothing and says that all is well."""
    return 0 if call.operation == "start" else call.run()


def start_again(call: Invocation) -> int:
    """`start` of a stopped or running container makes it anew and starts that."""
    if call.operation != "start" or call.state().get("status") == "created":
        return call.run()
    state = call.state()
    if not state:
        return call.run()
    call.ask("delete", "--force", call.id)
    call.ask("create", "--bundle", state["bundle"], call.id)
    return call.run()


def read_config_at_start(call: Invocation) -> int:
    """What is in config.json when the container is started counts."""
    state = call.state() if call.operation == "start" else {}
    if state.get("status") == "created":
        call.ask("delete", "--force", call.id)
        call.run([*call.globals, "create", "--bundle", state["bundle"], call.id])
    return call.run()


def replace_existing(call: Invocation) -> int:
    """`create` with an ID in use throws the other container away."""
    if call.operation == "create" and call.state():
        call.ask("delete", "--force", call.id)
    return call.run()


def kill_nothing(call: Invocation) -> int:
    """`kill` sends nothing."""
    return 0 if call.operation == "kill" else call.run()


def kill_otherwise(call: Invocation) -> int:
    """`kill` sends SIGKILL whatever it is told."""
    if call.operation == "kill" and len(call.words) > 1:
        return call.run([*call.globals, "kill", call.id, "KILL"])
    return call.run()


def kill_created_refused(call: Invocation) -> int:
    """`kill` refuses a container that isn't running."""
    if call.operation == "kill" and call.state().get("status") == "created":
        print("not running", file=sys.stderr)
        return 1
    return call.run()


def restart_on_kill(call: Invocation) -> int:
    """`kill` of a stopped container is an error, but removes it."""
    stopped = call.operation == "kill" and call.state().get("status") == "stopped"
    code = call.run()
    if stopped:
        call.ask("delete", "--force", call.id)
    return code


def delete_running(call: Invocation) -> int:
    """`delete` is always `delete --force`."""
    if call.operation == "delete":
        call.run([*call.globals, "delete", "--force", call.id], stderr=subprocess.DEVNULL)
        return 0
    return call.run()


def delete_running_with_error(call: Invocation) -> int:
    """`delete` of a running container is an error, but kills it."""
    code = call.run()
    if call.operation == "delete" and code:
        call.ask("kill", call.id, "KILL")
    return code


def keep_at_delete(call: Invocation) -> int:
    """`delete` removes nothing and says that all is well."""
    return 0 if call.operation == "delete" else call.run()


def delete_bundle(call: Invocation) -> int:
    """`delete` removes the bundle, too."""
    bundle = call.state().get("bundle", "") if call.operation == "delete" else ""
    code = call.run()
    if (
        bundle
        and not code
        and os.path.basename(os.path.dirname(os.path.dirname(bundle))).startswith("oci-conformance-")
    ):
        Path(bundle, "config.json").unlink(missing_ok=True)
    return code


def leave_cgroup(call: Invocation) -> int:
    """After `delete` the container's cgroups are there again."""
    directories = _cgroups(call.state().get("pid", 0)) if call.operation == "delete" else []
    if call.operation in ("start", "create"):
        code = call.run()
        directories = _cgroups(call.state().get("pid", 0))
        _note(call).write_text("\n".join(directories))
        return code
    code = call.run()
    if call.operation == "delete" and not code and _note(call).exists():
        for directory in directories or _note(call).read_text().split("\n"):
            if directory:
                Path(directory).mkdir(exist_ok=True)
        _note(call).unlink()
    return code


def leave_process(call: Invocation) -> int:
    """A process that `create` started lives on."""
    code = call.run()
    if call.operation == "create" and not code:
        subprocess.Popen(["sleep", "30"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return code


def leave_mount(call: Invocation) -> int:
    """A mount on the root file system is left on the host."""
    bundle = call.state().get("bundle", "") if call.operation == "delete" else ""
    code = call.run()
    if bundle and not code:
        subprocess.run(["mount", "-t", "tmpfs", "none", f"{bundle}/rootfs/mnt"], check=False)
    return code


def _note(call: Invocation) -> Path:
    """A file beside the runtime's folder, for what has to be known later."""
    root = call.globals[call.globals.index("--root") + 1] if "--root" in call.globals else "/tmp"
    return Path(f"{root}.mutant-{call.id}")


def _cgroups(pid: int) -> list[str]:
    """The directories of a process's cgroups, on hosts where they are mounted in the usual places."""
    found = []
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        _, names, path = line.split(":", 2)
        base = Path("/sys/fs/cgroup")
        for top in (base / names.removeprefix("name="), base / "unified" if not names else base, base):
            directory = top / path.lstrip("/")
            if "oci-conformance" in path and directory.is_dir():
                found.append(str(directory))
                break
    return found


# hooks


def weaken_hooks(call: Invocation) -> int:
    """Each hook is run by a shell which does `argument` with it: $1 and what follows is the hook."""
    config = call.config() if call.operation == "create" else None
    if not isinstance(config, dict):
        return call.run()
    for kind, hooks in (config.get("hooks") or {}).items():
        for hook in hooks if kind != "startContainer" else ():
            hook["args"] = ["sh", "-c", call.argument, "sh", hook["path"], *hook.get("args", [""])[1:]]
            hook["path"] = "/bin/sh"
    return call.run_with(config)


# what the program gets


def leak_descriptor(call: Invocation) -> int:
    """The program gets one descriptor more."""
    if call.operation != "create":
        return call.run()
    leaked = os.dup2(os.open("/", os.O_RDONLY), 3)
    position = len(call.globals) + 1
    argv = [*call.argv[:position], "--preserve-fds", "1", *call.argv[position:]]
    return call.run(argv, pass_fds=(leaked,))


def spoil_file(call: Invocation) -> int:
    """A file of the container's own /dev is removed before the program starts: `argument` is its name."""
    code = call.run()
    if call.operation == "create" and not code:
        root = os.open(f"/proc/{call.state()['pid']}/root", os.O_PATH)
        dev = os.open("dev", os.O_PATH | os.O_NOFOLLOW, dir_fd=root)
        if os.fstat(dev).st_dev != os.fstat(root).st_dev:  # a mount of the container's, not the bundle's
            entry = os.stat(call.argument, dir_fd=dev, follow_symlinks=False)
            if not stat.S_ISDIR(entry.st_mode):
                os.unlink(call.argument, dir_fd=dev)
    return code


# features


def change_features(call: Invocation) -> int:
    """`features` claims something: `argument` is JSON, [path, value]; a list gets the value as one more item."""
    answer = call.ask(*call.argv[len(call.globals) :]) if call.operation == "features" else None
    if answer is None or answer.returncode:
        return call.run()
    document = json.loads(answer.stdout)
    path, value = json.loads(call.argument)
    *parents, last = path.split(".")
    node = document
    for key in parents:
        node = node.setdefault(key, {})
    if isinstance(node.get(last), list) and not isinstance(value, list):
        node[last].append(value)
    else:
        node[last] = value
    print(json.dumps(document))
    return 0
