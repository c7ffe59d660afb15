"""linux.intelRdt against a file system that behaves as resctrl (tests/fake_resctrl.py), and without any."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from resctrl_of_tests import serving

HALF, QUARTER = "L3:0=f;1=f", "L3:0=3;1=3"


@pytest.fixture
def resctrl(pyrun, tmp_path):
    """resctrl is mounted where the runtime is called."""
    with serving(pyrun, tmp_path) as found:
        yield found


def with_rdt(one, **properties):
    """Ask for a class."""
    one.config["linux"]["intelRdt"] = properties
    return one.write()


def sleeper(one):
    """Let the program stay."""
    return one.args("sleep", "1000")


@pytest.mark.parametrize(
    ("properties", "schemata"),
    [
        ({}, ["MB:0=100;1=100", "L3:0=ff;1=ff"]),
        ({"l3CacheSchema": HALF}, ["MB:0=100;1=100", "L3:0=f;1=f"]),
        ({"memBwSchema": "MB:0=20;1=70"}, ["MB:0=20;1=70", "L3:0=ff;1=ff"]),
        ({"l3CacheSchema": HALF, "memBwSchema": "MB:1=50"}, ["MB:0=100;1=50", "L3:0=f;1=f"]),
        ({"l3CacheSchema": f"{HALF}\nMB:0=20", "memBwSchema": "MB:0=50"}, ["MB:0=50;1=100", "L3:0=f;1=f"]),
        ({"l3CacheSchema": HALF, "schemata": ["L3:1=1", "MB:0=30"]}, ["MB:0=30;1=100", "L3:0=f;1=1"]),
    ],
    ids=["presence", "cache", "bandwidth", "both", "bandwidth twice", "schemata last"],
)
def test_a_class_of_its_own(pyrun, resctrl, bundle, properties, schemata):
    """Without closID the class is named after the container, has what is asked for in the specified order, holds the
    program, and goes with the container."""
    container = pyrun.start(with_rdt(sleeper(bundle()), **properties))
    assert resctrl.classes() == [container.id]
    assert resctrl.schemata(container.id) == schemata
    assert resctrl.tasks(container.id) == [container.pid]
    container.delete("--force")
    assert resctrl.classes() == []
    assert resctrl.schemata() == ["MB:0=100;1=100", "L3:0=ff;1=ff"]


def test_exec(pyrun, resctrl, bundle):
    """A program that exec adds is put into the container's class and monitoring group, too. The model has no births, so
    this is without a PID namespace, where the process that is put there is the program."""
    one = with_rdt(sleeper(bundle()).namespace("pid", None), l3CacheSchema=HALF, enableMonitoring=True)
    container = pyrun.start(one)
    container.exec(("sleep", "1000"), "--detach", "--pid-file", str(pyrun.folder / "pid"))
    pids = {container.pid, int((pyrun.folder / "pid").read_text())}
    assert set(resctrl.tasks(container.id)) == pids
    assert set(resctrl.tasks(f"{container.id}/mon_groups/{container.id}")) == pids
    container.delete("--force")


def test_a_class_that_is_there(pyrun, resctrl, bundle):
    """closID alone puts the program into that class, and neither changes nor removes it."""
    resctrl.make("shared", HALF)
    before = resctrl.schemata("shared")
    container = pyrun.start(with_rdt(sleeper(bundle()), closID="shared"))
    assert resctrl.tasks("shared") == [container.pid]
    assert resctrl.schemata("shared") == before
    container.delete("--force")
    assert resctrl.classes() == ["shared"]


def test_the_default_class(pyrun, resctrl, bundle):
    """closID / is the root of resctrl."""
    container = pyrun.start(with_rdt(sleeper(bundle()), closID="/"))
    assert container.pid in resctrl.tasks()
    container.delete("--force")
    assert resctrl.classes() == []


def test_a_shared_class_is_made_and_stays(pyrun, resctrl, bundle):
    """closID with a schema makes the class; the next container finds it with the same schemata, however written."""
    container = pyrun.create(with_rdt(bundle(), closID="made", l3CacheSchema=HALF))
    container.delete("--force")
    assert resctrl.classes() == ["made"]
    other = pyrun.create(
        with_rdt(bundle(), closID="made", l3CacheSchema="L3:1=0F;0=0f", memBwSchema="MB:0=100")
    )
    assert resctrl.tasks("made") == [other.pid]
    other.delete("--force")
    assert resctrl.schemata("made") == ["MB:0=100;1=100", "L3:0=f;1=f"]


@pytest.mark.parametrize("own", [False, True], ids=["closID", "id"])
def test_a_class_of_the_containers_name(pyrun, resctrl, bundle, own):
    """A class that was there before the container, under its id too, is compared, used, and left."""
    container_id = pyrun.id()
    resctrl.make(container_id, HALF)
    one = with_rdt(bundle(), **({} if own else {"closID": container_id}), l3CacheSchema=HALF)
    pyrun.ok("create", "--bundle", str(one.path), container_id)
    pyrun.ok("delete", "--force", container_id)
    assert resctrl.classes() == [container_id]


@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
def test_monitoring(pyrun, resctrl, bundle, shared):
    """enableMonitoring makes a group of the container's name in its class, and it goes with the container."""
    resctrl.make("shared")
    name = "shared" if shared else ""
    one = with_rdt(sleeper(bundle()), **({"closID": name} if name else {}), enableMonitoring=True)
    container = pyrun.start(one)
    name = name or container.id
    assert resctrl.monitored(name) == [container.id]
    assert resctrl.tasks(f"{name}/mon_groups/{container.id}") == [container.pid]
    assert container.pid in resctrl.tasks(name)
    container.delete("--force")
    assert resctrl.classes() == ["shared"]
    assert resctrl.monitored("shared") == []


REFUSED = {
    "no such class": ({"closID": "none"}, "closID", "resctrl has no class none"),
    "another's schemata": (
        {"closID": "shared", "l3CacheSchema": QUARTER},
        "l3CacheSchema",
        "shared has L3:0=f, and not 3",
    ),
    "another's bandwidth": (
        {"closID": "shared", "memBwSchema": "MB:1=10"},
        "memBwSchema",
        "MB:1=64, and not a",
    ),
    "an unknown resource": ({"schemata": ["L9:0=f"]}, "schemata[0]", "Unknown or unsupported resource name"),
    "a bad mask": ({"l3CacheSchema": "L3:0=5"}, "l3CacheSchema", "non-consecutive 1-bits"),
    "too little": ({"memBwSchema": "MB:0=1"}, "memBwSchema", "out of range"),
    "not a class": ({"closID": "info"}, "closID", "info is no class"),
    "a file": ({"closID": "tasks", "l3CacheSchema": HALF}, "closID", "tasks is no class"),
    "the last line": ({"closID": "new", "schemata": [HALF, "MB:0=x"]}, "schemata[1]", "'MB:0=x'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_had(pyrun, resctrl, bundle, case):
    """One sentence with the JSON path and the kernel's own words; no class is left, and none is changed."""
    properties, place, words = REFUSED[case]
    resctrl.make("shared", HALF)
    before = resctrl.schemata("shared")
    sentence = pyrun.refused(with_rdt(bundle(), **properties))
    assert sentence.startswith(f"linux.intelRdt.{place}: ")
    assert words in sentence
    assert resctrl.classes() == ["shared"]
    assert resctrl.schemata("shared") == before


def test_no_more_classes(pyrun, resctrl, bundle):
    """A CPU has few classes, and monitors few groups: the error says which number is reached."""
    for name in ("a", "b", "c"):
        resctrl.make(name)
        (resctrl.top / "mon_groups" / name).mkdir()
    assert "num_closids" in pyrun.refused(with_rdt(bundle(), l3CacheSchema=HALF))
    sentence = pyrun.refused(with_rdt(bundle(), closID="a", enableMonitoring=True))
    assert sentence.startswith("linux.intelRdt.enableMonitoring: ")
    assert "num_rmids" in sentence
    assert resctrl.classes() == ["a", "b", "c"]


def test_a_monitoring_group_of_another(pyrun, resctrl, bundle):
    """One that has the container's name already isn't taken, and isn't removed."""
    container_id = pyrun.id()
    resctrl.make("shared")
    (resctrl.top / "shared/mon_groups" / container_id).mkdir()
    one = with_rdt(bundle(), closID="shared", enableMonitoring=True)
    sentence = pyrun.error("create", "--bundle", str(one.path), container_id)
    assert "which is another's" in sentence
    assert resctrl.monitored("shared") == [container_id]


def test_a_create_that_fails_later(pyrun, resctrl, bundle):
    """Nothing is left of the container's own groups."""
    one = with_rdt(bundle(), l3CacheSchema=HALF, enableMonitoring=True).hook("createRuntime", "exit 1")
    pyrun.refused(one)
    assert resctrl.classes() == []


def test_update(pyrun, resctrl, bundle):
    """update changes the container's own class, all of it or nothing, and never a class that is shared."""
    container = pyrun.start(with_rdt(sleeper(bundle()), l3CacheSchema=HALF))
    pyrun.ok("update", "--l3-cache-schema", QUARTER, "--mem-bw-schema", "MB:0=30", container.id)
    assert resctrl.schemata(container.id) == ["MB:0=30;1=100", "L3:0=3;1=3"]
    sentence = pyrun.error("update", "--l3-cache-schema", HALF, "--mem-bw-schema", "MB:0=5", container.id)
    assert sentence.startswith("--mem-bw-schema: writing 'MB:0=5': ")
    assert resctrl.schemata(container.id) == ["MB:0=30;1=100", "L3:0=3;1=3"]
    pyrun.error("update", "--l3-cache-schema", HALF, "--cpuset-cpus", "9999", container.id)
    assert resctrl.schemata(container.id) == ["MB:0=30;1=100", "L3:0=3;1=3"]
    container.delete("--force")
    resctrl.make("shared")
    container = pyrun.start(with_rdt(sleeper(bundle()), closID="shared"))
    assert "is not the container's own" in pyrun.error("update", "--l3-cache-schema", HALF, container.id)
    container.delete("--force")


def test_update_without_a_class(pyrun, bundle):
    """A container without intelRdt has no class to be changed."""
    container = pyrun.start(sleeper(bundle()))
    sentence = pyrun.error("update", "--mem-bw-schema", "MB:0=30", container.id)
    assert sentence == "--mem-bw-schema: the container was created without linux.intelRdt"
    container.delete("--force")


def test_statistics(pyrun, resctrl, bundle):
    """events has what runc's has: limits of the CPU, schemata of all and of the container, and its counters."""
    container = pyrun.start(with_rdt(sleeper(bundle()), l3CacheSchema=HALF, enableMonitoring=True))
    found = json.loads(pyrun.ok("events", "--stats", container.id).out)["data"]["intel_rdt"]
    assert found == {
        "l3_cache_info": {"cbm_mask": "ff", "min_cbm_bits": 1, "num_closids": 4},
        "l3_cache_schema_root": "L3:0=ff;1=ff",
        "l3_cache_schema": "L3:0=f;1=f",
        "mem_bw_info": {"bandwidth_gran": 10, "delay_linear": 1, "min_bandwidth": 10, "num_closids": 4},
        "mem_bw_schema_root": "MB:0=100;1=100",
        "mem_bw_schema": "MB:0=100;1=100",
        "cmt_stats": [{"llc_occupancy": 4096}, {"llc_occupancy": 8192}],
        "mbm_stats": [
            {"mbm_total_bytes": 4096, "mbm_local_bytes": 4096},
            {"mbm_total_bytes": 8192, "mbm_local_bytes": 8192},
        ],
    }
    container.delete("--force")


@pytest.mark.parametrize(
    "properties", [{}, {"closID": "x"}, {"l3CacheSchema": HALF}], ids=["empty", "closID", "schema"]
)
def test_without_resctrl(pyrun, bundle, properties):
    """Where it isn't mounted intelRdt is refused by name, by its mere presence."""
    if " - resctrl " in Path("/proc/self/mountinfo").read_text():
        pytest.skip("resctrl is mounted here")
    sentence = pyrun.refused(with_rdt(bundle(), **properties))
    assert sentence.startswith("linux.intelRdt: resctrl is not mounted on this host (")
