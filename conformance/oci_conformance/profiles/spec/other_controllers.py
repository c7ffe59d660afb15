"""hugepageLimits, network and rdma of linux.resources (config-linux.md#huge-page-limits and what follows).

Few hosts have all of these controllers. Where one is missing an error is right, and silence is a failure.
"""

from __future__ import annotations

from pathlib import Path

from oci_conformance.profiles.support import limits
from oci_conformance.profiles.support.limits import Knob
from oci_conformance.run.case import Case, Container, Refused
from oci_conformance.run.registry import test

HUGE = "linux.resources.hugepageLimits"
NEEDS = ("root",)


def _page_sizes() -> dict[str, int]:
    """The sizes of huge pages of this kernel as the cgroup's files name them -> bytes."""
    found = {}
    for folder in Path("/sys/kernel/mm/hugepages").glob("hugepages-*kB"):
        kib = int(folder.name.removeprefix("hugepages-").removesuffix("kB"))
        name = f"{kib >> 20}GB" if kib >= 1 << 20 else f"{kib >> 10}MB" if kib >= 1 << 10 else f"{kib}KB"
        found[name] = kib << 10
    return dict(sorted(found.items(), key=lambda item: item[1]))


def _huge(size: str, value: int, infix: str = "") -> Knob:
    return Knob(
        "hugetlb",
        {f"hugetlb.{size}{infix}.limit_in_bytes": str(value)},
        {f"hugetlb.{size}{infix}.max": str(value)},
    )


def _limited(t: Case) -> tuple[Container, dict[str, int]]:
    """A created container with a limit for each size of huge pages, and those limits. Ends the test if it is refused.

    A runtime that works with cgroup v1 may leave cgroup2 alone, which on hybrid hosts may be what has the controller.
    """
    values = {size: 3 * each for size, each in _page_sizes().items()}
    changes = {HUGE: [{"pageSize": size, "limit": value} for size, value in values.items()]}
    try:
        return t.create(changes), values
    except Refused as error:
        if t.host.cgroups == "hybrid" and t.host.controllers["hugetlb"]:
            for id in t.test.ids:
                t.unsupported(id, f"hugetlb is by cgroup2 beside cgroup v1 on this host, and {error}")
        raise


@test("hugetlb.limit", "hugetlb.rsvd", "hugetlb.fallback", needs=("root", "cgroup:hugetlb", "hugetlb"))
def huge_pages(t: Case) -> None:
    """Huge pages are limited: their reservation where the kernel counts that, else their use."""
    c, values = _limited(t)
    reserves = False
    for size, value in values.items():
        use, reservation = _huge(size, value), _huge(size, value, ".rsvd")
        either = Knob("hugetlb", {**use.v1, **reservation.v1}, {**use.v2, **reservation.v2})
        limits.check(t, "hugetlb.limit", c, either)
        reserves = reserves or bool(reservation.files(c))
        if reservation.files(c):
            limits.check(t, "hugetlb.rsvd", c, reservation)
        else:
            limits.check(t, "hugetlb.fallback", c, use)
    t.skip(f"this host lacks a kernel with{'out' if reserves else ''} limits for reserved huge pages")


@test("hugetlb.pagesize-match", needs=("root", "cgroup:hugetlb", "hugetlb"))
def page_size(t: Case) -> None:
    """A size of huge pages that the kernel hasn't got is refused."""
    size = next(iter(_page_sizes()))
    control: dict[str, object] = {HUGE: [{"pageSize": size, "limit": _page_sizes()[size]}]}
    for wrong in ("3MB", "2097152"):
        t.refused(
            "hugetlb.pagesize-match", control, {HUGE: [{"pageSize": wrong, "limit": _page_sizes()[size]}]}
        )


@test("netcls.classID", needs=NEEDS)
def class_id(t: Case) -> None:
    """Packets are tagged with the class, or there is an error where the host has no net_cls controller."""
    knob = Knob("net_cls", {"net_cls.classid": str(0x100001)})
    limits.applied(t, "netcls.classID", {"linux.resources.network.classID": 0x100001}, knob)


@test("netprio.priorities", needs=NEEDS)
def priorities(t: Case) -> None:
    """An interface's priority is set, or there is an error where the host has no net_prio controller."""
    knob = Knob("net_prio", {"net_prio.ifpriomap": lambda text: "lo 500" in text.splitlines()})
    changes = {"linux.resources.network.priorities": [{"name": "lo", "priority": 500}]}
    limits.applied(t, "netprio.priorities", changes, knob)


def _rdma_devices() -> list[str]:
    return sorted(path.name for path in Path("/sys/class/infiniband").glob("*"))


@test("rdma.limits", needs=NEEDS)
def rdma(t: Case) -> None:
    """An RDMA device's handles and objects are limited, or there is an error where the host has no such device."""
    if not _rdma_devices():
        c = t.prepare({"linux.resources.rdma": {"oci_conf0": {"hcaHandles": 3}}})
        call = c.call("create")
        if call.ok:
            t.check("rdma.limits", False, "an error: this host has no RDMA device", "create succeeded")
        else:
            t.unsupported(
                "rdma.limits", f"this host has no RDMA device, and create was refused: {call.sentence}"
            )
        return
    device = _rdma_devices()[0]
    for entry, said in (
        ({"hcaHandles": 3, "hcaObjects": 1000}, f"{device} hca_handle=3 hca_object=1000"),
        ({"hcaHandles": 5}, f"{device} hca_handle=5 hca_object=max"),
        ({"hcaObjects": 70}, f"{device} hca_handle=max hca_object=70"),
    ):
        file = {"rdma.max": lambda text, said=said: said in [line.strip() for line in text.splitlines()]}
        limits.applied(t, "rdma.limits", {"linux.resources.rdma": {device: entry}}, Knob("rdma", file, file))


@test("rdma.one", needs=("root", "rdma"))
def rdma_empty(t: Case) -> None:
    """An RDMA device with neither hcaHandles nor hcaObjects is refused."""
    t.refused("rdma.one", {"linux.resources.rdma": {}}, {"linux.resources.rdma": {_rdma_devices()[0]: {}}})
