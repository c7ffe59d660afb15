"""Statistics from folders that look like cgroups, and what update writes to put a file back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrun.cgroups import change, files, stats
from pyrun.cgroups.controllers import cpu
from pyrun.commands import update

UNLIMITED = 18446744073709551615


def write(folder: Path, contents: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in contents.items():
        (folder / name).write_text(text)
    return folder


def record(mount: Path, *controllers: str) -> Any:
    name = ",".join(controllers) or "unified"
    hierarchy = {"name": name, "controllers": list(controllers), "mount": str(mount)}
    return {"id": "x", "path": "/x", "hierarchies": [hierarchy], "made": [], "kept": []}


PRESSURE = (
    "some avg10=1.50 avg60=0.25 avg300=0.00 total=4711\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=12\n"
)
PSI = {
    "some": {"avg10": 1.5, "avg60": 0.25, "avg300": 0.0, "total": 4711},
    "full": {"avg10": 0.0, "avg60": 0.0, "avg300": 0.0, "total": 12},
}


def test_v2(tmp_path: Path) -> None:
    write(
        tmp_path / "x",
        {
            "cpu.stat": "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 5\nnr_throttled 2\n"
            "throttled_usec 7\n",
            "cpu.pressure": PRESSURE,
            "cpuset.cpus.effective": "0-2,5\n",
            "cpuset.mems.effective": "0\n",
            "memory.max": "max\n",
            "memory.current": "8192\n",
            "memory.peak": "16384\n",
            "memory.swap.max": "4096\n",
            "memory.swap.current": "100\n",
            "memory.stat": "anon 1\nfile 2\n",
            "memory.events": "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n",
            "pids.current": "4\n",
            "pids.max": "max\n",
            "io.stat": "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n253:16 \n",
            "hugetlb.2MB.current": "2097152\n",
            "hugetlb.2MB.events": "max 9\n",
            "rdma.max": "mlx5_0 hca_handle=2 hca_object=max\n",
            "rdma.current": "mlx5_0 hca_handle=1 hca_object=7\n",
            "hugetlb.1GB.current": "1\n",
            "hugetlb.1GB.rsvd.current": "1073741824\n",
        },
    )
    data = stats.collect(record(tmp_path), 0)
    assert data["cpu"] == {
        "usage": {"total": 30000, "kernel": 10000, "user": 20000},
        "throttling": {"periods": 5, "throttledPeriods": 2, "throttledTime": 7000},
        "psi": PSI,
    }
    assert (data["cpuset"]["cpus"], data["cpuset"]["mems"]) == ([0, 1, 2, 5], [0])
    assert data["memory"]["usage"] == {"limit": UNLIMITED, "usage": 8192, "failcnt": 3, "max": 16384}
    assert data["memory"]["swap"] == {"limit": UNLIMITED, "usage": 8292, "failcnt": 0}
    assert data["memory"]["raw"] == {"anon": 1, "file": 2}
    assert data["memory"]["cache"] == 2
    assert "psi" not in data["memory"]
    assert data["pids"] == {"current": 4, "limit": 0}
    assert data["blkio"]["ioServiceBytesRecursive"] == [
        {"major": 8, "minor": 0, "op": op, "value": value}
        for op, value in (("Read", 1), ("Write", 2), ("Discard", 5))
    ]
    assert [entry["value"] for entry in data["blkio"]["ioServicedRecursive"]] == [3, 4, 6]
    assert data["hugetlb"] == {
        "2MB": {"usage": 2097152, "failcnt": 9},
        "1GB": {"usage": 1073741824, "failcnt": 0},  # what is reserved, where the kernel counts that
    }
    assert data["rdma_stats"] == {
        "rdma_limit": [{"device": "mlx5_0", "hca_handles": 2, "hca_objects": 2**32 - 1}],
        "rdma_current": [{"device": "mlx5_0", "hca_handles": 1, "hca_objects": 7}],
    }
    assert data["network_interfaces"] is None


def test_v1(tmp_path: Path) -> None:
    write(
        tmp_path / "x",
        {
            "cpuacct.usage": "30\n",
            "cpuacct.stat": "user 2\nsystem 1\n",
            "cpuacct.usage_percpu": "10 20 \n",
            "cpuacct.usage_all": "cpu user system\n0 6 4\n1 15 5\n",
            "cpu.stat": "nr_periods 5\nnr_throttled 2\nthrottled_time 7\nwait_sum 3\n",
            "memory.limit_in_bytes": "4096\n",
            "memory.usage_in_bytes": "1024\n",
            "memory.max_usage_in_bytes": "2048\n",
            "memory.failcnt": "6\n",
            "memory.stat": "cache 12\nhierarchical_memsw_limit 9223372036854771712\n",
            "blkio.bfq.io_service_bytes_recursive": "Total 0\n",
            "blkio.throttle.io_service_bytes_recursive": "8:0 Read 77\n8:0 Total 77\nTotal 77\n",
            "hugetlb.1GB.usage_in_bytes": "1\n",
            "hugetlb.1GB.max_usage_in_bytes": "2\n",
            "hugetlb.1GB.failcnt": "3\n",
            "hugetlb.2MB.usage_in_bytes": "1\n",
            "hugetlb.2MB.rsvd.usage_in_bytes": "4\n",
            "hugetlb.2MB.rsvd.max_usage_in_bytes": "5\n",
            "hugetlb.2MB.rsvd.failcnt": "6\n",
        },
    )
    data = stats.collect(record(tmp_path, "cpu", "cpuacct", "memory", "blkio", "hugetlb"), 0)
    assert data["cpu"]["usage"] == {
        "total": 30,
        "percpu": [10, 20],
        "percpu_kernel": [4, 5],
        "percpu_user": [6, 15],
        "kernel": 10**7,
        "user": 2 * 10**7,
    }
    assert data["cpu"]["throttling"] == {"periods": 5, "throttledPeriods": 2, "throttledTime": 7}
    assert data["memory"]["usage"] == {"limit": 4096, "usage": 1024, "max": 2048, "failcnt": 6}
    assert data["memory"]["raw"]["hierarchical_memsw_limit"] == 9223372036854771712
    assert [(entry["op"], entry["value"]) for entry in data["blkio"]["ioServiceBytesRecursive"]] == [
        ("Read", 77),
        ("Total", 77),
    ]
    assert data["hugetlb"] == {
        "1GB": {"usage": 1, "max": 2, "failcnt": 3},
        "2MB": {"usage": 4, "max": 5, "failcnt": 6},
    }


@pytest.mark.parametrize(
    "controllers", [(), ("cpu", "cpuacct", "cpuset", "memory", "pids", "blkio", "hugetlb")]
)
def test_a_cgroup_that_is_gone(tmp_path: Path, controllers: tuple[str, ...]) -> None:
    """The container may end while it is looked at."""
    data = stats.collect(record(tmp_path, *controllers), 0)
    assert data["pids"] == {"current": 0, "limit": 0}
    assert data["memory"]["usage"]["usage"] == 0


def test_interfaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = "Inter-|   Receive                  |  Transmit\n face |bytes packets |bytes\n"
    lines = "    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 11 12 13 14 0 0 0 0 21 22 23 24 0 0 0 0\n"
    links = iter((write(tmp_path, {"a": "", "b": ""}) / "a", tmp_path / "b"))
    monkeypatch.setattr(stats.posix, "stat", lambda path: next(links).stat())
    monkeypatch.setattr(files, "read", lambda path: (head + lines).rstrip("\n"))
    assert stats._network(1) == [
        {
            "Name": "eth0",
            "RxBytes": 11,
            "RxPackets": 12,
            "RxErrors": 13,
            "RxDropped": 14,
            "TxBytes": 21,
            "TxPackets": 22,
            "TxErrors": 23,
            "TxDropped": 24,
        }
    ]


@pytest.mark.parametrize(
    ("text", "numbers"), [("", []), ("3", [3]), ("0-2,5", [0, 1, 2, 5]), ("0,2,4-5", [0, 2, 4, 5])]
)
def test_number_list(text: str, numbers: list[int]) -> None:
    assert cpu.number_list(text) == numbers


@pytest.mark.parametrize(
    ("name", "key", "text", "written"),
    [
        ("memory.max", "", "4096", "4096"),
        ("memory.oom_control", "", "oom_kill_disable 1\nunder_oom 0\noom_kill 3", "1"),
        ("io.max", "8:0", "8:0 rbps=1 wbps=max\n8:16 rbps=2", "8:0 rbps=1 wbps=max"),
        ("io.max", "8:32", "8:0 rbps=1", "8:32 rbps=max wbps=max riops=max wiops=max"),
        ("io.weight", "default", "default 100\n8:0 50", "default 100"),
        ("io.weight", "8:16", "default 100", "8:16 default"),
    ],
)
def test_what_puts_a_file_back(name: str, key: str, text: str, written: str) -> None:
    assert change.content(name, key, text) == written


def test_put_back_restores_the_oldest(tmp_path: Path) -> None:
    """A file that was written twice gets what it held first; one that can't be written is named."""
    write(tmp_path, {"pids.max": "11", "memory.high": "max", "cpu.idle": "0", "cpu.weight": "77"})
    before: list[files.Before] = []
    for value in ("22", "33"):
        files.write_all(
            str(tmp_path), [(name, value, "", False) for name in ("pids.max", "cpu.idle")], before
        )
    files.write_all(str(tmp_path), [("memory.high", "100", "", False)], before)
    write(tmp_path, {"cpu.weight": "10", "cpu.idle": "1"})  # what the kernel makes of it
    (tmp_path / "memory.high").unlink()
    assert change.put_back(before) == ["memory.high"]
    assert (tmp_path / "pids.max").read_text() == "11"
    assert (tmp_path / "cpu.idle").read_text()[:1] == "0"
    assert (tmp_path / "cpu.weight").read_text() == "77"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("-1", -1),
        ("64M", 64 << 20),
        ("64mb", 64 << 20),
        ("64MiB", 64 << 20),
        ("1.5g", 3 << 29),
        ("1k", 1024),
        ("7b", 7),
        ("2T", 2 << 40),
        ("", None),
        ("M", None),
        ("-2", None),
        ("1.M", None),
        (".5M", None),
        ("1e3", None),
        ("64 M", None),
        ("0x10", None),
        ("1.2.3k", None),
        ("9" * 30, None),
    ],
)
def test_sizes(text: str, size: int | None) -> None:
    assert update.size(text) == size


@given(st.text())
def test_any_size_is_understood_or_refused(text: str) -> None:
    found = update.size(text)
    assert found is None or found >= -1
