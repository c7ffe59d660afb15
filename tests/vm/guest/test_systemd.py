"""pyrun's own --systemd-cgroup beside a real systemd."""

from __future__ import annotations

import concurrent.futures
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from guest import ROOTFS, RUNTIME, Host, eventually

Config = dict[str, Any]


class Bundle:
    """A bundle of somebody's, with busybox in it."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.path = Path(tempfile.mkdtemp(dir="/var/tmp"))
        os.chmod(self.path, 0o755)
        shutil.copytree(ROOTFS, self.path / "rootfs", symlinks=True)
        if host.name != "root":
            os.chown(self.path, 1000, 1000)
        host.ok(
            str(RUNTIME),
            "spec",
            *(() if host.name == "root" else ("--rootless",)),
            "--bundle",
            str(self.path),
        )
        self.config: Config = json.loads((self.path / "config.json").read_text())
        self.config["process"]["terminal"] = False

    def write(self, *args: str, **linux: Any) -> str:
        """Write the configuration with this program, and these parts of `linux`."""
        self.config["process"]["args"] = list(args)
        self.config["linux"].update(linux)
        (self.path / "config.json").write_text(json.dumps(self.config))
        return str(self.path)

    def pyrun(self, *words: str) -> str:
        """pyrun with systemd's cgroups; its output goes to a file, as a container holds it open."""
        quoted = " ".join(f"'{word}'" for word in (str(RUNTIME), "--systemd-cgroup", *words))
        script = f"{quoted} >/tmp/out-$$ 2>&1 </dev/null; s=$?; cat /tmp/out-$$; rm /tmp/out-$$; exit $s"
        return self.host.ok("sh", "-c", script)


@pytest.fixture
def bundle(anyone: Host) -> Iterator[Bundle]:
    one = Bundle(anyone)
    yield one
    shutil.rmtree(one.path)


def test_limits_and_names(anyone: Host, bundle: Bundle) -> None:
    """The scope's name, slice and limits are those of the configuration; a daemon-reload changes none; at the end there
    is no unit."""
    resources = {"memory": {"limit": 1 << 26}, "pids": {"limit": 50}, "cpu": {"shares": 512}}
    path = bundle.write("sleep", "1000", cgroupsPath="machine.slice:p:one", resources=resources)
    bundle.pyrun("create", "--bundle", path, "one")
    try:
        bundle.pyrun("start", "one")
        shown = anyone.systemctl("show", "p-one.scope")
        for line in (
            "MemoryMax=67108864",
            "TasksMax=50",
            "Slice=machine.slice",
            "ActiveState=active",
            "Delegate=yes",
        ):
            assert line in shown.splitlines()
        below = next(line for line in shown.splitlines() if line.startswith("ControlGroup=")).partition("=")[
            2
        ]
        folder = Path(f"/sys/fs/cgroup{below}")
        weight = folder.joinpath("cpu.weight").read_text()
        anyone.systemctl("daemon-reload")
        assert folder.joinpath("memory.max").read_text() == "67108864\n"
        assert folder.joinpath("cpu.weight").read_text() == weight != "100\n"
        bundle.pyrun("update", "--memory", "33554432", "one")
        assert "MemoryMax=33554432" in anyone.systemctl("show", "p-one.scope", "-p", "MemoryMax")
        assert folder.joinpath("memory.max").read_text() == "33554432\n"
        bundle.pyrun("exec", "one", "true")
    finally:
        bundle.pyrun("delete", "--force", "one")
    assert anyone.units("p-one.scope") == []
    assert not folder.exists()


def test_device_rules_outlive_a_reload(root: Host) -> None:
    """A daemon-reload takes no device rule away (runc#3551)."""
    one = Bundle(root)
    script = (
        "mknod /tmp/kmsg c 1 11; while :; do (echo x >/tmp/kmsg) 2>/dev/null && echo allowed; sleep 0.2; done"
    )
    one.config["root"]["readonly"] = False
    one.config["process"]["capabilities"]["bounding"].append("CAP_MKNOD")
    one.config["process"]["capabilities"]["permitted"].append("CAP_MKNOD")
    one.config["process"]["capabilities"]["effective"].append("CAP_MKNOD")
    path = one.write("sh", "-c", script, cgroupsPath="system.slice:p:rules")
    try:
        one.host.ok(
            "sh", "-c", f"{RUNTIME} --systemd-cgroup run -d -b {path} rules >/tmp/rules 2>&1 </dev/null"
        )
        root.systemctl("daemon-reload")
        assert root("sleep", "2").returncode == 0
        assert "allowed" not in Path("/tmp/rules").read_text()
    finally:
        one.pyrun("delete", "--force", "rules")
        shutil.rmtree(one.path)


def test_many_at_once(anyone: Host, bundle: Bundle) -> None:
    """Creates at the same time lose none, and leave no unit."""
    path = bundle.write("true")
    names = [f"many-{anyone.name}-{number}" for number in range(20)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: bundle.pyrun("run", "--bundle", path, name), names))
    eventually(lambda: anyone.units("runc-many-*") == [], "units are left")


def test_a_killed_container_leaves_no_unit(anyone: Host, bundle: Bundle) -> None:
    """A program that fails or is killed leaves no failed unit behind."""
    path = bundle.write("sleep", "1000", cgroupsPath="machine.slice:p:dead")
    bundle.pyrun("create", "--bundle", path, "dead")
    bundle.pyrun("start", "dead")
    bundle.pyrun("kill", "dead", "KILL")
    bundle.pyrun("delete", "--force", "dead")
    assert anyone.units("p-dead.scope") == []
