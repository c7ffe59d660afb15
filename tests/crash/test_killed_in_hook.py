"""A command that is killed while a hook runs, which may take forever: the hook goes with it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import Bundle, Pyrun, eventually, new_id, processes_of
from test_killed import in_user_namespace, nothing, running, sharing_processes

Change = Callable[[Bundle], None]
COMMANDS = {
    "prestart": "create",
    "createRuntime": "create",
    "createContainer": "create",
    "startContainer": "start",
    "poststart": "start",
    "poststop": "delete",
}


@pytest.mark.parametrize(
    "change", [None, in_user_namespace, sharing_processes], ids=["own", "user", "shared"]
)
@pytest.mark.parametrize("kind", COMMANDS)
def test_killed_in_hook(
    kind: str, change: Change | None, pyrun: Pyrun, rich: tuple[str, Bundle], tmp_path: Path
) -> None:
    _, bundle = rich
    container_id = new_id()
    if change:
        change(bundle)
    bundle.config["linux"]["cgroupsPath"] = f"/{container_id}"
    argv0 = "sleep" if kind == "startContainer" else f"{container_id} "
    path = "/bin/sleep"
    bundle.config["hooks"] = {kind: [{"path": path, "args": [argv0, "1000"]}]}
    bundle.args("sleep", "999")
    command = COMMANDS[kind]
    words = [command, *(["--bundle", str(bundle.path)] if command == "create" else []), container_id]
    if command == "start":
        pyrun.ok("create", "--bundle", str(bundle.path), container_id)
    if command == "delete":
        running(pyrun, bundle, container_id)
        words.insert(1, "--force")
    else:
        nothing(pyrun, bundle, container_id)
    with (tmp_path / "err").open("wb") as err:
        process = pyrun.popen(*words, stdout=subprocess.DEVNULL, stderr=err)
    eventually(lambda: hook_of(container_id, kind), "the hook doesn't run")
    process.kill()
    process.wait()
    if kind != "startContainer":  # that one is the container's own process's child, which goes on
        eventually(lambda: not hook_of(container_id, kind), "the hook is left")
    pyrun.ok("delete", "--force", container_id)
    eventually(lambda: not list(processes_of([container_id])), "a process is left")
    pyrun.assert_gone(container_id)


def hook_of(container_id: str, kind: str) -> list[str]:
    """The hook's process, by its arguments or its cgroup."""
    found = [text for text in processes_of([container_id]) if "1000" in text.split("\n")[0]]
    return [text for text in found if kind == "startContainer" or text.split()[1] == container_id]
