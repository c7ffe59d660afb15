"""What a container finds at the places that a runtime makes: /dev, /proc, /sys/fs/cgroup, masked paths, its root."""

from __future__ import annotations

import os
from typing import Any

from oci_conformance.core import cgroup, kernel
from oci_conformance.profiles.habits import tools
from oci_conformance.profiles.habits.tools import CGROUP_MOUNT
from oci_conformance.profiles.support import mounting
from oci_conformance.profiles.support.mounting import Entry, add, bind
from oci_conformance.run.case import Case, Container
from oci_conformance.run.registry import test

LINKS = {
    "/dev/fd": "/proc/self/fd",
    "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
    "/dev/ptmx": "pts/ptmx",
}


def _whole(container: Container) -> None:
    container.create()
    container.start()
    container.wait()
    container.delete()


@test("habits.cgroup-joint-links", needs=("root",))
def joint(t: Case) -> None:
    """Each controller that this host mounts together with another is a link to where both are."""
    mounted = [[name for name in names if "=" not in name] for names, _, _ in cgroup.mounted()]
    joint = [names for names in mounted if len(names) > 1]
    if not joint:
        t.skip("this host lacks controllers of cgroup v1 that are mounted together")
    names = sorted(name for each in joint for name in each)
    commands = [f"stat /sys/fs/cgroup/{name}" for name in names]
    seen = t.run(add(t, CGROUP_MOUNT), *commands, *(f"list /sys/fs/cgroup/{name}" for name in names))
    for name in names:
        kind = seen.answer(f"stat /sys/fs/cgroup/{name}").get("result", {}).get("type")
        t.equal("habits.cgroup-joint-links", f"{name}: {kind}", f"{name}: link")
        files = seen.answer(f"list /sys/fs/cgroup/{name}").get("result", [])
        found = "cgroup.procs" in files
        t.check("habits.cgroup-joint-links", found, f"{name} leads to a cgroup", files)


@test("habits.cgroup-host-view", needs=("root", "cgroup-v2"))
def host_view(t: Case) -> None:
    """No cgroup namespace: the path that the kernel names is a folder below the mount, and holds the program."""
    container = t.serve(add(t, CGROUP_MOUNT))
    path = container.ask("read /proc/self/cgroup").get("result", "").strip().partition("::")[2]
    said = container.ask(f"read /sys/fs/cgroup{path}/cgroup.procs")
    seen = str(said.get("result", said.get("errno", ""))).split()
    t.check("habits.cgroup-host-view", seen == ["1"], f"process 1 in {path} below /sys/fs/cgroup", seen)


@test("habits.cgroup-unknown-option", needs=("root", "cgroup-v2"))
def unknown_option(t: Case) -> None:
    """A cgroup mount with an option that there isn't: refused."""
    fault: Entry = {**CGROUP_MOUNT, "options": ["ro", "no-such-option"]}
    t.refused("habits.cgroup-unknown-option", add(t, CGROUP_MOUNT), add(t, fault))


@test("habits.masked-paths")
def masked(t: Case) -> None:
    """A folder with a file, a file, and a path that isn't there: empty and read-only, /dev/null, and nothing."""
    changes = {"linux.maskedPaths": ["/secret", "/etc/secret", "/no/such/path"]}
    files = {"/secret/file": "x", "/etc/secret": "x"}
    commands = ("list /secret", "write /secret/new x", "stat /etc/secret", "read /etc/secret", "stat /no")
    seen = t.run(changes, *commands, files=files)
    t.equal("habits.masked-paths", seen["list /secret"], [])
    t.equal("habits.masked-paths", seen.error("write /secret/new x"), "EROFS")
    node = seen["stat /etc/secret"]
    t.equal("habits.masked-paths", [node["type"], node["major"], node["minor"]], ["char", 1, 3])
    t.equal("habits.masked-paths", seen["read /etc/secret"], "")
    t.equal("habits.masked-paths", seen.error("stat /no"), "ENOENT")


@test("habits.masked-twice")
def masked_twice(t: Case) -> None:
    """A folder that is masked twice: it is empty, and one mount lies on it."""
    changes = {"linux.maskedPaths": ["/secret", "/secret"]}
    seen = t.run(changes, "list /secret", "mounts", files={"/secret/file": "x"})
    t.equal("habits.masked-twice", seen["list /secret"], [])
    count = sum(mount.point == "/secret" for mount in mounting.of(seen))
    t.equal("habits.masked-twice", count, 1)


@test("habits.dev-links")
def dev_links(t: Case) -> None:
    """The five links, and where they lead."""
    seen = t.run({}, *(f"stat {link}" for link in LINKS))
    found = {link: seen.answer(f"stat {link}").get("result", {}).get("target") for link in LINKS}
    ptmx = found.pop("/dev/ptmx")
    t.equal(
        "habits.dev-links", found, {link: target for link, target in LINKS.items() if link != "/dev/ptmx"}
    )
    t.check("habits.dev-links", ptmx in ("pts/ptmx", "/dev/pts/ptmx"), "pts/ptmx", ptmx)


def _without_dev(t: Case, *entries: mounting.Entry) -> dict[Any, Any]:
    """Changes by which /dev is what the image has, or one of the entries."""
    kept = [each for each in t.base("x")["mounts"] if not each["destination"].startswith("/dev")]
    return {"mounts": [*kept, *entries]}


@test("habits.dev-links-stay", needs=("root", "cap:MKNOD"))
def links_stay(t: Case) -> None:
    """An image whose /dev/fd leads elsewhere, and whose /dev/stdin is a file: they are so afterwards."""
    container = t.prepare(_without_dev(t), "stat /dev/fd", "stat /dev/stdin", files={"/dev/stdin": "mine"})
    (container.rootfs / "dev/fd").symlink_to("elsewhere")
    _whole(container)
    t.equal(
        "habits.dev-links-stay",
        (tools.result(container.stdout, "stat /dev/fd") or {}).get("target"),
        "elsewhere",
    )
    t.equal(
        "habits.dev-links-stay", (tools.result(container.stdout, "stat /dev/stdin") or {}).get("type"), "file"
    )


@test("habits.dev-bound", needs=("root",))
def dev_bound(t: Case) -> None:
    """A folder of the host with null in it, as /dev: nothing else is in it afterwards."""
    folder = t.folder / "dev"
    folder.mkdir()
    tools.null(folder / "null")
    before = sorted(os.listdir(folder))
    _whole(t.prepare(_without_dev(t, bind(folder, "/dev")), "cwd"))
    t.equal("habits.dev-bound", sorted(os.listdir(folder)), before)


@test("habits.no-pivot", needs=("root",))
def no_pivot(t: Case) -> None:
    """create --no-pivot: the program finds the image's files at /, and .. leads nowhere else."""
    container = t.prepare({}, "read /etc/name", "list /..", files={"/etc/name": "here"})
    tools.create(container, "--no-pivot")
    container.start()
    container.wait()
    t.equal("habits.no-pivot", tools.result(container.stdout, "read /etc/name"), "here")
    names = tools.result(container.stdout, "list /..") or []
    t.check("habits.no-pivot", "probe" in names, "the image's root", names)


@test("habits.no-old-root", needs=("root",))
def no_old_root(t: Case) -> None:
    """The program sees mounts of its root and below, and none of this test's folder on the host."""
    mounting.make_tmpfs(t.folder / "marked")
    mounts = mounting.of(t.run({}, "mounts"))
    tops = [mount.point for mount in mounts if mount.parent not in {each.id for each in mounts}]
    t.equal("habits.no-old-root", tops, ["/"])
    strange = [mount.point for mount in mounts if "marked" in mount.point]
    t.equal("habits.no-old-root", strange, [])


@test("habits.propagation", needs=("root",))
def propagation(t: Case) -> None:
    """A shared volume: a tmpfs that the host mounts in it later is seen inside; one mounted inside isn't outside."""
    source = mounting.make_tmpfs(t.folder / "source")
    for name in ("later", "inside"):
        (source / name).mkdir()
    mounting.propagate(source, kernel.MS_SHARED)
    changes = {**mounting.capabilities("CAP_SYS_ADMIN"), **add(t, bind(source, "/mnt", how="rbind"))}
    with tools.control(t):
        container = t.serve(changes)
    mounting.make_tmpfs(source / "later")
    points = [mount.point for mount in mounting.asked(container)]
    t.check("habits.propagation", "/mnt/later" in points, "/mnt/later", points)
    container.ask("mount none /mnt/inside tmpfs")
    inside = [mount.point for mount in mounting.asked(container)]
    outside = [str(point) for point in kernel.mounts_below(source)]
    if "/mnt/inside" in inside:
        t.check("habits.propagation", str(source / "inside") not in outside, "no mount on the host", outside)


@test("habits.proc-folder")
def proc_folder(t: Case) -> None:
    """A file, and a link to a folder, in the place of /proc and of /sys: refused."""
    sysfs: Entry = {
        "destination": "/sys",
        "type": "sysfs",
        "source": "sysfs",
        "options": ["ro", "nosuid", "nodev", "noexec"],
    }
    changes: dict[Any, Any] = {**tools.NETWORK, **add(t, sysfs)}
    with tools.control(t):
        t.run(changes, "cwd")
    for name in ("proc", "sys"):
        for kind in ("file", "link"):
            container = t.prepare(changes, "cwd")
            place = container.rootfs / name
            place.rmdir()
            if kind == "file":
                place.write_text("")
            else:
                place.symlink_to("mnt")
            expected = f"an error: /{name} is a {kind}"
            t.is_refused("habits.proc-folder", container, at="start", expected=expected)
