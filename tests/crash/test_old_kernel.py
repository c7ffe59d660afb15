"""What Linux 5.10 lacks: containers must be the same without it (old_kernel.py, calls.close_range_on_exec)."""

from __future__ import annotations

import errno

import needs
import pytest
from bundles import Bundle, Config, Pyrun
from faults import Faults

# Not in Linux 5.10: mount_setattr(2) is of 5.12. close_range(2) is of 5.9, its flag CLOSE_RANGE_CLOEXEC of 5.11.
LINUX_5_10 = {"mount_setattr": errno.ENOSYS, "close_range": errno.EINVAL}
SEEN = """
cut -d" " -f5-6,7- /proc/self/mountinfo > /out/mounts
ls /proc/self/fd > /out/fds
id > /out/id
touch /proc/sys/x /ro/x /bin/x 2> /out/errors
wc -c < /proc/timer_list > /out/masked
"""


def looks(
    faults: Faults, pyrun: Pyrun, bundle: Bundle, container_id: str, errors: dict[str, int]
) -> list[str]:
    """What a container sees of itself."""
    out = bundle.path / "out"
    ended = faults.without(errors, "run", "--bundle", str(bundle.path), container_id)
    assert (ended.code, ended.err) == (0, "")
    texts = [(out / name).read_text() for name in ("mounts", "fds", "id", "errors", "masked")]
    for path in out.iterdir():
        path.unlink()
    pyrun.assert_gone(container_id)
    return texts


@pytest.mark.parametrize("missing", [("mount_setattr",), ("close_range",), ("mount_setattr", "close_range")])
def test_same_container(
    missing: tuple[str, ...], faults: Faults, pyrun: Pyrun, rich: tuple[str, Bundle]
) -> None:
    container_id, bundle = rich

    def change(config: Config) -> None:
        config["mounts"] += [
            {"destination": "/out", "source": "out", "options": ["bind", "nosuid", "noexec"]},
            {"destination": "/ro", "source": "out", "options": ["rbind", "ro"]},
            {
                "destination": "/scratch",
                "type": "tmpfs",
                "source": "tmpfs",
                "options": ["ro", "noatime", "nodev"],
            },
            {"destination": "/slave", "type": "tmpfs", "source": "tmpfs", "options": ["rslave"]},
        ]

    change(bundle.config)
    (bundle.path / "out").mkdir()
    for name in ("out", "ro", "scratch", "slave"):
        (bundle.rootfs / name).mkdir()
    bundle.sh(SEEN)
    ordinary = looks(faults, pyrun, bundle, container_id, {"acct": errno.ENOSYS})
    old = looks(faults, pyrun, bundle, container_id, {name: LINUX_5_10[name] for name in missing})
    assert old == ordinary


def test_recursive_attributes_below_another_mount(
    faults: Faults, pyrun: Pyrun, rich: tuple[str, Bundle]
) -> None:
    """A mount that can't be reached, since another lies over it, is an error that names the entry, never a mount
    without the attribute. (That others have it is in test_old_and_new_mount_calls.py.)"""
    container_id, bundle = rich
    (bundle.path / "data/sub").mkdir(parents=True)
    over = f"mount -t tmpfs t {bundle.path}/data/sub"
    script = f'mount --bind {bundle.path}/data {bundle.path}/data && {over} && {over} && exec "$@"'
    pyrun.wrapper = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"]
    bundle.mount("/data", "", "data", "rbind", "rnosuid")
    ended = faults.without(LINUX_5_10, "create", "--bundle", str(bundle.path), container_id)
    assert ended.code == 1
    assert ended.err.startswith(f"pyrun: mounts[{len(bundle.config['mounts']) - 1}]: ")
    assert "something is mounted over it" in ended.err
    pyrun.assert_gone(container_id)


@pytest.mark.parametrize("user", [False, True], ids=["host", "user"])
def test_mapped_ids_are_refused(faults: Faults, pyrun: Pyrun, rich: tuple[str, Bundle], user: bool) -> None:
    """What can't be had is an error that names the mount and the kernel that has it, never a mount with other ids."""
    container_id, bundle = rich
    bundle.config["hooks"] = {}
    bundle.config["linux"].pop("sysctl")
    if user:
        needs.user_namespaces()
        bundle.user_namespace()
    bundle.mount("/tmp", "", "/tmp", "bind", "idmap=uids=0-100000-9;gids=0-100000-9")
    ended = faults.without(
        {"mount_setattr": errno.ENOSYS}, "create", "--bundle", str(bundle.path), container_id
    )
    assert ended.code == 1
    assert ended.err.startswith(
        f"pyrun: mounts[{len(bundle.config['mounts']) - 1}]: mapping the ids of /tmp: mount_setattr: "
    )
    assert "that needs Linux 5.12" in ended.err
    pyrun.assert_gone(container_id)


def test_no_new_mount_calls(faults: Faults, pyrun: Pyrun, rich: tuple[str, Bundle]) -> None:
    """A kernel or filter without the new mount calls: one sentence, nothing left."""
    container_id, bundle = rich
    errors = dict.fromkeys(("open_tree", "fsopen", "move_mount"), errno.ENOSYS)
    ended = faults.without(errors, "create", "--bundle", str(bundle.path), container_id)
    assert ended.code == 1
    assert len(ended.err.splitlines()) == 1
    pyrun.assert_gone(container_id)


def opening_procfs(
    faults: Faults, pyrun: Pyrun, rich: tuple[str, Bundle], before_6_17: str
) -> tuple[list[str], list[list[str]]]:
    """A create in a PID namespace that is joined, on a kernel before 6.17: its words, and its processes' calls, of
    which the second's and the third's are of those who open the procfs of the namespace."""
    container_id, bundle = rich
    bundle.namespace("pid", "/proc/self/ns/pid").write()
    pyrun.wrapper = [before_6_17]
    words = ["create", "--bundle", str(bundle.path), container_id]
    recorded = faults.record(*words)
    assert recorded.code == 0, recorded.err
    assert "pivot_root" in recorded.calls[1]
    assert "fsopen" in recorded.calls[2]
    pyrun.ok("delete", "--force", container_id)
    return words, recorded.calls


def test_procfs_that_nobody_can_open_inside(
    faults: Faults, pyrun: Pyrun, rich: tuple[str, Bundle], before_6_17: str
) -> None:
    """Where user namespaces are forbidden, or the root folder can't be left, the container is made all the same."""
    words, calls = opening_procfs(faults, pyrun, rich, before_6_17)
    for name in ("setns", "unshare", "pivot_root", "seccomp", "execveat"):
        ended = faults.at((1, calls[1].index(name) + 1), f"error:{errno.EPERM}", *words)
        assert (ended.code, ended.err) == (0, ""), name
        pyrun.ok("delete", "--force", words[-1])


def test_who_opens_procfs_inside_is_hindered(
    faults: Faults, pyrun: Pyrun, rich: tuple[str, Bundle], before_6_17: str
) -> None:
    """From the moment that somebody is seen inside, there is no other way that those who live there could choose."""
    words, calls = opening_procfs(faults, pyrun, rich, before_6_17)
    points = [(1, len(calls[1]) - calls[1][::-1].index("clone"))]
    points += [(2, calls[2].index(name) + 1) for name in ("fsopen", "sendmsg")]
    for point in points:
        for action in (f"error:{errno.EPERM}", "kill"):
            if point[0] == 1 and action == "kill":
                continue
            ended = faults.at(point, action, *words)
            assert ended.code == 1, (point, action)
            assert "to open its procfs died, or was hindered" in ended.err
            pyrun.assert_gone(words[-1])
