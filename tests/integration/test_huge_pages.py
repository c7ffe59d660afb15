"""linux.resources.hugepageLimits, on this host and on a view of it that has nothing but cgroup v2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bundles import cgroups_of

HUGE = "linux.resources.hugepageLimits"


def page_sizes():
    """The sizes of this machine's huge pages, in the words of the specification."""
    for each in Path("/sys/kernel/mm/hugepages").glob("hugepages-*kB"):
        number = int(each.name.removeprefix("hugepages-").removesuffix("kB"))
        power = min((number.bit_length() - 1) // 10, 2)
        yield f"{number >> 10 * power}{'KMG'[power]}B"


def test_huge_pages_of_none(any_host, bundle):
    """A limit of 0 for each page size, which CRI-O sends for every container, is put into effect where there is a
    controller for it, and never an error: 3 GB pages are nowhere."""
    sizes = [*page_sizes(), "3GB"]
    limits = [{"pageSize": size, "limit": 0} for size in sizes]
    container = any_host.start(
        bundle({"linux": {"resources": {"hugepageLimits": limits}}}).args("sleep", "1000")
    )
    seen = in_force(container.id)
    assert all(value == 0 for values in seen.values() for value in values), seen
    if not seen and not any_host.wrapper:
        pytest.skip("needs the hugetlb controller to see the limits")


def test_huge_pages_can_be_updated_to_none(pyrun, bundle):
    """kubelet sends the same resources by update."""
    container = pyrun.start(bundle().args("sleep", "1000"))
    document = '{"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}'
    pyrun.ok("update", "--resources", "-", container.id, data=document.encode())


def bytes_of(size):
    """The bytes of a page."""
    return int(size[:-2]) << {"KB": 10, "MB": 20, "GB": 30}[size[-2:]]


def limited(any_host, bundle, limits):
    """A container with these limits, {size: bytes}; skips where nothing limits huge pages."""
    entries = [{"pageSize": size, "limit": limit} for size, limit in limits.items()]
    one = bundle({"linux": {"resources": {"hugepageLimits": entries}}}).args("sleep", "1000")
    result = any_host("create", "-b", str(one.path), name := any_host.id())
    if result.code and "controller 'hugetlb' can't be had" in result.err:
        pytest.skip("needs the hugetlb controller where containers are made")
    assert result.code == 0, result.err
    return name


def in_force(name):
    """{size: the limits of use and of reservations}, as the container's cgroups have them."""
    found = {}
    for folder in map(Path, cgroups_of([name])):
        for file in (*folder.glob("hugetlb.*.max"), *folder.glob("hugetlb.*.limit_in_bytes")):
            found.setdefault(file.name.split(".")[1], []).append(int(file.read_text().replace("max", "-1")))
    return found


def test_each_size_has_its_limit(any_host, bundle):
    """Use is limited, and reservations too where the kernel counts them (config-linux.md, Huge page limits)."""
    limits = {size: 3 * bytes_of(size) for size in page_sizes()}
    name = limited(any_host, bundle, limits)
    if any_host.wrapper:  # its cgroups can't be seen from here
        assert any_host.ok("events", "--stats", name)
        return
    seen = in_force(name)
    assert seen.keys() == limits.keys()
    for size, values in seen.items():
        assert set(values) == {limits[size]}, size


def test_statistics_name_each_size(any_host, bundle):
    """What engines show of huge pages: each size of the machine, with what is used and how often the limit was met."""
    name = limited(any_host, bundle, {size: bytes_of(size) for size in page_sizes()})
    found = json.loads(any_host.ok("events", "--stats", name).out)["data"]["hugetlb"]
    assert found.keys() == set(page_sizes())
    assert all((each["usage"], each["failcnt"]) == (0, 0) for each in found.values())


def test_update_changes_one_size_and_leaves_the_others(pyrun, bundle):
    """What isn't named stays as it is."""
    sizes = list(page_sizes())
    if len(sizes) < 2:
        pytest.skip("needs huge pages of two sizes")
    one, other = sizes[:2]
    name = limited(pyrun, bundle, {one: 3 * bytes_of(one), other: bytes_of(other)})
    document = json.dumps({"hugepageLimits": [{"pageSize": one, "limit": 5 * bytes_of(one)}]})
    pyrun.ok("update", "--resources", "-", name, data=document.encode())
    seen = in_force(name)
    assert (set(seen[one]), set(seen[other])) == ({5 * bytes_of(one)}, {bytes_of(other)})


def test_an_update_that_fails_changes_no_limit(pyrun, bundle):
    """All that is named, or nothing."""
    size = next(iter(page_sizes()), "")
    if not size:
        pytest.skip("needs huge pages")
    name = limited(pyrun, bundle, {size: 3 * bytes_of(size)})
    before = in_force(name)
    document = {"hugepageLimits": [{"pageSize": size, "limit": 0}], "unified": {"cgroup.max.depth": "x"}}
    assert "cgroup.max.depth" in pyrun.error(
        "update", "--resources", "-", name, data=json.dumps(document).encode()
    )
    assert in_force(name) == before


def test_a_size_that_the_machine_has_not_got_is_named(pyrun, bundle):
    """The sentence says which sizes there are; so for create and update."""
    if not Path("/sys/kernel/mm/hugepages").is_dir():
        pytest.skip("needs huge pages")
    entries = [{"pageSize": "3MB", "limit": 3 << 20}]
    sentence = pyrun.refused(bundle({"linux": {"resources": {"hugepageLimits": entries}}}))
    assert sentence.startswith(f"{HUGE}[0].pageSize: this machine has no huge pages of 3MB: its sizes are ")
    assert all(size in sentence for size in page_sizes())
    container = pyrun.start(bundle().args("sleep", "1000"))
    again = pyrun.error(
        "update", "--resources", "-", container.id, data=json.dumps({"hugepageLimits": entries}).encode()
    )
    assert again == sentence
