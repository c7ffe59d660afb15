"""mount_setattr(2) and what stands in for it on Linux 5.10 and 5.11 do exactly the same: whatever mounts are asked for,
a container sees the same ones, or is refused at the same place."""

from __future__ import annotations

import errno

import needs
import pytest
from bundles import Bundle, Pyrun, new_id
from faults import Faults
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from oci_spec import mount_options

OLD = {"mount_setattr": errno.ENOSYS}
NEW = {"acct": errno.ENOSYS}  # nobody calls it
# A tree of mounts that have all attributes among them.
TREE = """
mount -t tmpfs -o nosuid,noatime top {0} && mkdir {0}/a {0}/b &&
mount -t tmpfs -o nodev,strictatime a {0}/a && mkdir "{0}/a/with blank" &&
mount -t tmpfs -o noexec,nodiratime,ro c "{0}/a/with blank" &&
mount -t tmpfs -o nodiratime,strictatime b {0}/b && exec "$@"
"""
SHOW = "cat /proc/self/mountinfo > /out/mounts; stat -c '%n %a' /m* > /out/modes"

attributes = st.lists(st.sampled_from([*mount_options.ATTRIBUTES, "silent"]), max_size=4)
recursive = st.lists(st.sampled_from(list(mount_options.RECURSIVE)), max_size=2)
propagation = st.lists(
    st.sampled_from(["private", "rprivate", "slave", "rslave", "shared", "rshared"]), max_size=1
)
kinds = st.sampled_from(["tmpfs", "bind", "rbind", "rbind", "remount", "remount bind", "propagation"])
others = st.lists(st.tuples(kinds, st.integers(0, 1), attributes, recursive, propagation), max_size=3)
first = st.tuples(st.just("rbind"), st.just(0), attributes, recursive, propagation)
second = st.tuples(st.just("tmpfs"), st.just(1), attributes, recursive, propagation)
entries = st.builds(lambda one, two, more: [one, two, *more], first, second, others)


def configure(bundle: Bundle, wanted: list[tuple[str, int, list[str], list[str], list[str]]]) -> None:
    """Ask for mounts on /m0 and /m1, the last of all where the program writes what it sees."""
    bundle.config["mounts"] = [
        m for m in bundle.config["mounts"] if not m["destination"].startswith(("/m", "/out"))
    ]
    for kind, place, *lists in wanted:
        options = [option for one in lists for option in one]
        if kind == "propagation":
            options = lists[2] or ["private"]
        destination = f"/m{place}"
        if kind == "tmpfs":
            bundle.mount(destination, "tmpfs", "tmpfs", *options)
        elif kind in ("bind", "rbind"):
            bundle.mount(destination, "none", "data", kind, *options)
        else:
            bundle.mount(destination, "", "none", *(kind.split() if kind != "propagation" else []), *options)
    bundle.mount("/out", "none", "out", "bind")


def seen(faults: Faults, bundle: Bundle, errors: dict[str, int]) -> tuple[int, str, list[str]]:
    """How create ends, at which place of the configuration, and the mounts below /m."""
    for path in (bundle.path / "out").iterdir():
        path.unlink()
    ended = faults.without(errors, "run", "--bundle", str(bundle.path), new_id())
    place = ended.err.splitlines()[-1].partition(": ")[2].partition(": ")[0] if ended.code else ""
    found = []
    for line in (bundle.path / "out/mounts").read_text().splitlines() if not ended.code else []:
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if fields[4].startswith("/m"):
            tags = [tag.partition(":")[0] for tag in fields[6:]]
            found.append(" ".join([fields[3], fields[4], fields[5], *tags, after]))
    if not ended.code:
        found += (bundle.path / "out/modes").read_text().splitlines()
    return ended.code, place, found


@pytest.mark.parametrize("user", [False, True], ids=["host", "user"])
def test_the_same_mounts(faults: Faults, pyrun: Pyrun, bundle, user: bool) -> None:
    """For any list of mounts, remounts and changes of propagation, with any attributes, recursive ones as well."""
    needs.kernel(5, 12, "mount_setattr(2)")
    one = bundle(sh=SHOW)
    if user:
        needs.user_namespaces()
        one.config["process"]["rlimits"] = None
        one.user_namespace()
    for name in ("data", "out"):
        (one.path / name).mkdir()
    (one.path / "out").chmod(0o777)
    for name in ("m0", "m1", "out"):
        (one.rootfs / name).mkdir()
    script = TREE.format(one.path / "data")
    pyrun.wrapper = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"]

    plain: list[str] = []

    @example([("rbind", 0, ["relatime"], [], plain), ("rbind", 1, [], ["rrelatime"], plain)])
    @example(
        [("rbind", 0, ["nodev"], ["rnodev"], plain), ("tmpfs", 1, ["strictatime", "nosymfollow"], [], plain)]
    )
    @example(
        [
            ("tmpfs", 1, ["nosymfollow", "strictatime"], [], plain),
            ("remount bind", 1, ["nodiratime"], [], plain),
        ]
    )
    @example([("rbind", 0, [], ["rro", "rnosymfollow"], plain), ("remount", 0, [], ["rnoatime"], plain)])
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(entries)
    def same(wanted: list[tuple[str, int, list[str], list[str], list[str]]]) -> None:
        configure(one, wanted)
        assert seen(faults, one, OLD) == seen(faults, one, NEW)

    same()
