"""process.cwd that root of the user namespace may not enter, but the program's user may, by its groups."""

from __future__ import annotations

import os

import needs
import pytest

GUEST = {"uid": 1000, "gid": 1000, "additionalGids": [2000]}
OWNER, GROUP = 5, 102000  # of the host: an owner who isn't mapped, and 2000 in the container


@pytest.fixture
def closed(bundle):
    """A bundle with a user namespace and a folder /closed, where root of the namespace has no right."""
    needs.user_namespaces()
    one = bundle({"process": {"user": GUEST}, "root": {"readonly": False}}).user_namespace()
    folder = one.rootfs / "closed"
    (folder / "in").mkdir(parents=True)
    os.chown(folder, OWNER, GROUP)
    folder.chmod(0o770)
    return one


def outcome(pyrun, command, one, cwd, script="pwd"):
    """Exit status, output and errors of a program there: the container's, or one of exec."""
    if command == "exec":
        container = pyrun.start(one.args("sleep", "1000"))
        return container.exec(("sh", "-c", script), "--cwd", cwd)
    one.config["process"]["cwd"] = cwd
    return pyrun.run(one.sh(script))


@pytest.mark.parametrize("cwd", ["/closed", "/closed/in", "/closed/../closed/./in", "/way/in"])
@pytest.mark.parametrize("command", ["run", "exec"])
def test_only_the_user_may_enter(pyrun, closed, command, cwd):
    """It is entered with the user's groups, links and all."""
    (closed.rootfs / "way").symlink_to("/closed")
    result = outcome(pyrun, command, closed, cwd, "pwd -P; ls -d .")
    assert (result.code, result.err) == (0, "")
    assert result.out.split() == ["/closed/in" if cwd.endswith("in") else "/closed", "."]


@pytest.mark.parametrize("command", ["run", "exec"])
def test_nobody_may_enter(pyrun, closed, command):
    """Where the user is refused too, that is the error, in words by which engines find status 126."""
    (closed.rootfs / "closed").chmod(0o700)
    result = outcome(pyrun, command, closed, "/closed")
    assert result.code == (255 if command == "exec" else 1)
    assert "process.cwd: " in result.err
    assert "permission denied" in result.err


@pytest.mark.parametrize("command", ["run", "exec"])
def test_nothing_is_made_there(pyrun, closed, command):
    """What is missing in there is missing: the user makes no folder."""
    result = outcome(pyrun, command, closed, "/closed/missing")
    assert result.code == (255 if command == "exec" else 1)
    assert "process.cwd: entering it as the program's user: no such file or directory" in result.err


@pytest.mark.parametrize(
    "target", ["/proc/self/root", "/proc/self/cwd", "/proc/thread-self/fd/3", "/proc/1/cwd"]
)
@pytest.mark.parametrize("command", ["run", "exec"])
def test_no_magic_link_is_followed(pyrun, closed, command, target):
    """A link in there that leads through a link of /proc's is refused, as everywhere (CVE-2024-21626)."""
    (closed.rootfs / "closed/out").symlink_to(target)
    result = outcome(pyrun, command, closed, "/closed/out")
    assert result.code == (255 if command == "exec" else 1)
    assert "process.cwd: " in result.err
