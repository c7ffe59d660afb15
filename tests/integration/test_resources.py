"""Limits as the container has them, and many containers at once. (Each limit's own tests: test_cgroups_*.py.)"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import needs
import pytest
from bundles import new_id


def with_memory_and_devices():
    """Limits of several controllers, and a device rule."""
    rules = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "r"},
    ]
    return {"linux": {"resources": {"memory": {"limit": 64 << 20}, "pids": {"limit": 33}, "devices": rules}}}


@pytest.mark.parametrize("allowed", [True, False])
def test_device_rules(pyrun, bundle, allowed):
    """A device that no rule allows can be made and not opened; an allowed one can, beside other limits too."""
    needs.capability("CAP_MKNOD")
    if "229 fuse" not in Path("/proc/misc").read_text():
        pytest.skip("needs the device 10:229 (FUSE), which this kernel lacks")
    one = bundle(
        with_memory_and_devices(), sh="echo x > /dev/null && head -c 0 /dev/fuse-node && echo opened"
    )
    one.config["linux"]["devices"] = [{"path": "/dev/fuse-node", "type": "c", "major": 10, "minor": 229}]
    if not allowed:
        del one.config["linux"]["resources"]["devices"][1]
    result = pyrun.run(one.write())
    if allowed:
        assert (result.out, result.err) == ("opened\n", "")
    else:
        assert result.err == "head: /dev/fuse-node: Operation not permitted\n"


def test_relative_path_is_consistent(pyrun, bundle):
    """The same relative path is the same place each time."""
    name = new_id()
    pyrun.ids.append(name)
    places = set()
    for _ in range(2):
        container = pyrun.start(bundle({"linux": {"cgroupsPath": name}}).args("sleep", "1000"))
        places.add(Path(f"/proc/{container.pid}/cgroup").read_text())
        container.delete("--force")
    assert len(places) == 1


def test_out_of_memory(pyrun, bundle):
    """A program that takes more than its limit is killed, and `run` says 137."""
    one = bundle(
        {"linux": {"resources": {"memory": {"limit": 16 << 20}}}}, sh="echo up; exec tail -c 200m /dev/zero"
    )
    result = pyrun.run(one, time_limit=60)
    if result.code == 1 and "memory" in result.err:
        pytest.skip("needs the memory controller where containers are made")
    assert result.code == 137


def in_parallel(count, work):
    """Call `work(number)` in threads; their results in order."""
    results = [None] * count

    def one(number):
        results[number] = work(number)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_many_at_once(pyrun, bundle):
    """Containers that are made, run and deleted at the same time don't disturb each other."""
    bundles = [bundle(sh=f"echo {number}; hostname") for number in range(12)]
    results = in_parallel(12, lambda number: pyrun.run(bundles[number]))
    for number, result in enumerate(results):
        assert (result.code, result.err, result.out) == (0, "", f"{number}\npyrun\n")


def test_one_id_many_claims(pyrun, bundle):
    """Of many who want one id at the same time, one gets it, and the others are told so."""
    container_id = pyrun.id()
    one = bundle().args("sleep", "1000")
    results = in_parallel(8, lambda _: pyrun("create", "--bundle", str(one.path), container_id))
    assert sorted(result.code for result in results) == [0] + [1] * 7
    assert all("is in use" in result.err for result in results if result.code)
    assert pyrun.state(container_id)["status"] == "created"


def test_one_container_many_deletes(pyrun, bundle):
    """Of many who delete one container by force, all succeed."""
    container = pyrun.start(bundle().args("sleep", "1000"))
    results = in_parallel(6, lambda _: pyrun("delete", "--force", container.id))
    assert [(result.code, result.err) for result in results] == [(0, "")] * 6
    pyrun.assert_gone(container.id)


def test_one_container_many_starts(pyrun, bundle):
    """Of many who start one container, one does, and the program runs once."""
    container = pyrun.create(bundle(sh="echo once; exec sleep 1000"))
    results = in_parallel(6, lambda _: pyrun("start", container.id))
    assert sorted(result.code for result in results) == [0] + [1] * 5
    assert container.status == "running"
    assert container.out() in ("once\n", "")


def test_list_while_others_come_and_go(pyrun, bundle):
    """`list` and `state` see whole containers or none, while others are made and deleted."""
    one = bundle()
    stop = threading.Event()
    faults = []

    def look():
        while not stop.is_set():
            for command in (["list"], ["list", "--format", "json"]):
                result = pyrun(*command)
                if (result.code, result.err) != (0, ""):
                    faults.append(result)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(8):
            assert pyrun.run(one).code == 0
    finally:
        stop.set()
        thread.join()
    assert not faults


def test_nothing_grows(pyrun, bundle):
    """Container after container, no descriptor, mount, cgroup or file stays."""
    one = bundle()
    before = Path("/proc/self/mountinfo").read_text(), sorted(os.listdir(one.path))
    for _ in range(5):
        pyrun.output(one)
    assert (Path("/proc/self/mountinfo").read_text(), sorted(os.listdir(one.path))) == before
    assert [name for name in os.listdir(pyrun.root) if name != ".seccomp"] == []


def test_tun_can_always_be_opened(any_host, bundle):
    """/dev/net/tun needs no rule, as with runc and crun: images for VPNs make the node themselves."""
    needs.capability("CAP_MKNOD")
    if "200 tun" not in Path("/proc/misc").read_text():
        pytest.skip("needs the device 10:200 (tun), which this kernel lacks")
    rules = [{"allow": False, "access": "rwm"}]
    one = bundle({"linux": {"resources": {"devices": rules}}})
    one.config["process"]["capabilities"] = {
        name: ["CAP_MKNOD"] for name in ("bounding", "effective", "permitted")
    }
    script = "mknod /dev/tun c 10 200 && true < /dev/tun && true > /dev/tun && echo opened"
    assert any_host.output(one.sh(script)) == "opened\n"


@pytest.mark.parametrize(
    ("asked", "path", "controller"),
    [
        pytest.param({"network": {"classID": 1}}, "network.classID", "net_cls", id="class of packets"),
        pytest.param(
            {"network": {"priorities": [{"name": "lo", "priority": 1}]}},
            "network.priorities[0]",
            "net_prio",
            id="priority of packets",
        ),
        pytest.param({"rdma": {"mlx5_0": {"hcaHandles": 1}}}, 'rdma["mlx5_0"]', "rdma", id="RDMA"),
    ],
)
def test_what_the_host_has_no_controller_for_is_refused(any_host, bundle, asked, path, controller):
    """The sentence names the property and the controller that is missing; so for create and update."""
    one = bundle({"linux": {"resources": asked}})
    if any_host("create", "-b", str(one.path), any_host.id()).code == 0:
        pytest.skip(f"needs a host without the controller {controller}")
    container = any_host.create(bundle().args("sleep", "1000"))
    document = json.dumps(asked).encode()
    for sentence in (
        any_host.refused(one),
        any_host.error("update", "--resources", "-", container.id, data=document),
    ):
        assert sentence.startswith(f"linux.resources.{path}: ")
        # or that of RDMA is there, and the device isn't
        assert f"controller '{controller}' can't be had: " in sentence or "no RDMA device mlx5_0" in sentence


@pytest.mark.parametrize(
    "asked",
    [
        {"network": {"classID": 0, "priorities": []}},
        {"network": {"priorities": [{"name": "lo", "priority": 0}]}},
        {"rdma": {}},
        {"blockIO": {"weight": 0, "leafWeight": 0, "weightDevice": [], "throttleReadBpsDevice": []}},
    ],
    ids=["no class", "no priority", "no RDMA device", "no block I/O"],
)
def test_what_asks_for_nothing_needs_no_controller(any_host, bundle, asked):
    """Engines send zeros and empty lists for everybody."""
    any_host.create(bundle({"linux": {"resources": asked}}).args("sleep", "1000"))


def test_a_swappiness_of_minus_1_is_not_set(any_host, bundle):
    """Older engines write Go's -1 as 2^64-1: create, exec and update take it for no word of it, as runc does."""
    unset = {"memory": {"swappiness": 2**64 - 1}}
    container = any_host.start(bundle({"linux": {"resources": unset}}).args("sleep", "1000"))
    any_host.ok("exec", container.id, "true")
    any_host.ok("update", "--resources", "-", container.id, data=json.dumps(unset).encode())


@pytest.mark.parametrize("swappiness", [101, 2**64 - 2, -1, "x"])
def test_a_swappiness_out_of_range_is_refused(pyrun, bundle, swappiness):
    """The spec's range is 0 to 100, and no other number stands for nothing."""
    one = bundle({"linux": {"resources": {"memory": {"swappiness": swappiness}}}})
    assert pyrun.refused(one).startswith("linux.resources.memory.swappiness: found ")


def test_rdma_devices_are_limited(pyrun, bundle):
    """What is given is in force, update changes it, statistics show it, and a device that isn't there is named."""
    device = next((path.name for path in Path("/sys/class/infiniband").glob("*")), "")
    if not device:
        pytest.skip("needs an RDMA device")
    asked = {"rdma": {device: {"hcaHandles": 3}}}
    container = pyrun.start(bundle({"linux": {"resources": asked}}).args("sleep", "1000"))

    def limit():
        found = json.loads(pyrun.ok("events", "--stats", container.id).out)["data"]["rdma_stats"][
            "rdma_limit"
        ]
        return next((each["hca_handles"], each["hca_objects"]) for each in found if each["device"] == device)

    assert limit() == (3, 2**32 - 1)
    for document, sentence in (
        ({"rdma": {device: {"hcaObjects": 77}}}, ""),
        ({"rdma": {device: {"hcaHandles": 9}, "nosuch0": {"hcaHandles": 1}}}, "no RDMA device nosuch0"),
    ):
        call = pyrun.error if sentence else pyrun.ok
        result = call("update", "--resources", "-", container.id, data=json.dumps(document).encode())
        assert not sentence or sentence in result
        assert limit() == (3, 77)
