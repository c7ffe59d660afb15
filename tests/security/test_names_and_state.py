"""Names that are paths, and the runtime's own folder: container ids, cgroupsPath, state, pid file, start socket.

Ids and cgroup paths with ".." have led runtimes (crun 1.28, 1.29 among them) to files and cgroups of others. State is
what later commands act upon, as root: nobody else may write or read it, or wake a container by its socket.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import needs
import pytest
from bundles import CALLER, new_id

NAMES = [
    "..",
    ".",
    "../x",
    "x/../../y",
    "/etc",
    "a/b",
    "x/",
    ".hidden",
    ".seccomp",
    "",
    "a\nb",
    "a b",
    "é",
    "a" * 256,
    "~",
]


@pytest.mark.parametrize("name", NAMES)
def test_container_ids(pyrun, bundle, name, tmp_path):
    """No id leads out of the root folder, in any command."""
    before = sorted(tmp_path.iterdir())
    one = bundle()
    for command in (
        ["create", "-b", str(one.path)],
        ["run", "-b", str(one.path)],
        ["state"],
        ["start"],
        ["kill"],
        ["delete"],
    ):
        result = pyrun(*command, name)
        assert result.code == 1, command
        assert "internal" not in result.err
    assert sorted(set(tmp_path.iterdir()) - {one.path}) == before
    assert not pyrun.root.exists() or not os.listdir(pyrun.root)


@pytest.mark.parametrize(
    "path", ["..", "../x", "/../x", "/a/../../x", "a/..", "/a/..", "/x\ny", "/", ".", "/./"]
)
def test_cgroup_paths(pyrun, bundle, path):
    """No cgroupsPath leads out of the hierarchies, or to their roots."""
    assert "linux.cgroupsPath" in pyrun.refused(bundle({"linux": {"cgroupsPath": path}}))


def test_anothers_cgroup_is_refused(pyrun, bundle):
    """A container isn't put into the cgroup of another, and so can't end it at its own end."""
    path = f"/{new_id()}"
    first = pyrun.create(bundle({"linux": {"cgroupsPath": path}}))
    pyrun.ids.append(path[1:])
    assert "linux.cgroupsPath" in pyrun.refused(bundle({"linux": {"cgroupsPath": path}}))
    assert first.status == "created"


def test_own_cgroup_is_read_only_inside(pyrun, bundle):
    """CVE-2023-25809: /sys/fs/cgroup of the default configuration can't be written, with or without a namespace."""
    for namespace in ("", None):
        one = bundle(sh="grep ' /sys' /proc/self/mountinfo; mkdir /sys/fs/cgroup/x || echo refused")
        if namespace is None:
            one.namespace("cgroup", None)
        else:
            one.namespace("cgroup")
        result = pyrun.run(one)
        assert "refused" in result.lines(), result
        lines = [line for line in result.lines() if " /sys/fs/cgroup" in line]
        assert lines
        assert all("ro" in line.split()[5].split(",") for line in lines), lines


@pytest.fixture
def public():
    """A folder that any user of the host can reach; the runtime's root will be in it."""
    path = Path(tempfile.mkdtemp(prefix="pyrun-public-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def as_nobody(*argv: str) -> subprocess.CompletedProcess[str]:
    """Run a command as an ordinary user of the host."""
    return subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", *argv],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_state_is_private(pyrun, bundle, public):
    """With a caller whose umask is 0: no file of the state is another user's to read, write, list or connect to."""
    needs.program("setpriv")
    pyrun.root = public / "root"
    container = pyrun.create(bundle(), umask=0)
    folder = pyrun.root / container.id
    for each in (pyrun.root, folder):
        assert each.stat().st_mode & 0o077 == 0, each
    for each in folder.iterdir():
        if not stat.S_ISSOCK(each.stat().st_mode):
            assert each.stat().st_mode & 0o077 == 0, each
        assert as_nobody("stat", str(each)).returncode != 0
    assert as_nobody("ls", str(pyrun.root)).returncode != 0
    result = as_nobody(str(pyrun.runtime), "--root", str(pyrun.root), "start", container.id)
    assert result.returncode != 0
    assert container.status == "created"
    container.delete("--force")
    shutil.rmtree(pyrun.root)


@pytest.mark.parametrize("kind", ["owner", "mode", "link"])
def test_state_of_another_is_not_acted_upon(pyrun, bundle, public, kind):
    """A state folder that another user could have written names hooks to run and processes to kill: refused."""
    pyrun.root = public / "root"
    mark = public / "mark"
    container = pyrun.create(bundle().hook("poststop", f"touch {mark}"))
    folder = pyrun.root / container.id
    if kind == "owner":
        os.chown(folder, 65534, 65534)
    elif kind == "mode":
        folder.chmod(0o777)
    else:
        folder.rename(public / "moved")
        folder.symlink_to(public / "moved")
    for command in (["state"], ["start"], ["kill"], ["delete"]):
        pyrun.error(*command, container.id)
    pyrun("delete", "--force", container.id)
    assert not mark.exists()
    if kind == "link":
        folder.unlink()
        (public / "moved").rename(folder)
    os.chown(folder, 0, 0)
    folder.chmod(0o700)
    container.delete("--force")
    assert mark.exists()
    shutil.rmtree(pyrun.root)


@pytest.mark.parametrize("what", ["link", "hard link", "fifo"])
def test_pid_file_in_a_folder_of_others(pyrun, bundle, tmp_path, what):
    """What another user puts at the temporary name of the pid file, or at its own, is replaced, not written to."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "shared"
    folder.mkdir(mode=0o777)
    for name in (".pid.new", "pid"):
        if what == "link":
            (folder / name).symlink_to(victim)
        elif what == "hard link":
            os.link(victim, folder / name)
        else:
            os.mkfifo(folder / name)
    container = pyrun.create(bundle(), "--pid-file", str(folder / "pid"), time_limit=10)
    assert victim.read_text() == "precious"
    assert (folder / "pid").read_text() == str(container.pid)
    assert stat.S_ISREG((folder / "pid").lstat().st_mode)
    assert os.listdir(folder) == ["pid"]


def test_environment_of_hooks(pyrun, bundle, tmp_path):
    """Hooks get the environment that the configuration gives them, a sane umask, and nothing of the caller's."""
    assert "CALLER_SECRET" in CALLER
    for kind in ("prestart", "createRuntime", "createContainer", "poststart", "poststop"):
        log = tmp_path / kind
        script = f"env > {log}; umask >> {log}"
        assert pyrun.run(bundle().hook(kind, script, env=["A=b"]), umask=0o027).code == 0
        lines = set(log.read_text().splitlines())
        assert "A=b" in lines
        assert "0027" in lines, kind
        assert not [line for line in lines if "SECRET" in line or line.startswith(("PATH=", "HOME="))], lines
