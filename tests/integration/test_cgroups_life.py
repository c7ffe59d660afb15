"""A container's cgroups from plan to removal, with real processes, on this machine's layout and on pure v2."""

from __future__ import annotations

import errno
import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import cgroup_machine as machine
import pytest
from cgroup_machine import ask, cgroup, directories, existing, new_path, sleep, spawn, wait_until

from pyrun.base.errors import PyrunError, render
from pyrun.cgroups import cgroupfs, entrance, files, hierarchies, removal

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[[Callable[[], None]], None]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="cgroups need root")


@pytest.fixture(params=["this machine", "pure v2"])
def run(request: pytest.FixtureRequest) -> Run:
    if request.param == "pure v2" and hierarchies.layout()["mode"] == "v2":
        pytest.skip("needs a host with cgroup v1: this one has v2 alone, so that the other case is the same")
    return partial(machine.run, pure_v2=request.param == "pure v2")


def test_process_is_in_all_hierarchies(run: Run) -> None:
    def body() -> None:
        before = len(os.listdir("/proc/self/fd"))
        with cgroup(new_path("a", "b")) as record:
            lines = ask(record, lambda: Path("/proc/self/cgroup").read_text().splitlines())
            places = {line.split(":", 2)[1]: line.split(":", 2)[2] for line in lines}
            for hierarchy in record["hierarchies"]:
                name = "" if hierarchy["name"] == "unified" else hierarchy["name"]
                assert places[name] == record["path"]
            pid = spawn(record, sleep)
            wait_until(lambda: cgroupfs.pids(record) == [pid])
            removal.kill(record)
            assert cgroupfs.pids(record) == []
            os.waitpid(pid, 0)
        assert existing(record) == []
        removal.remove(record)
        assert len(os.listdir("/proc/self/fd")) == before

    run(body)


def test_attach_moves_any_process(run: Run) -> None:
    def body() -> None:
        with cgroup() as record:
            pid = os.fork()
            if pid == 0:
                time.sleep(60)
                os._exit(0)
            cgroupfs.attach(record, pid)
            assert cgroupfs.pids(record) == [pid]
            for directory in directories(record):
                assert Path(f"{directory}/cgroup.procs").read_text() == f"{pid}\n"
            removal.kill(record)
            os.waitpid(pid, 0)

    run(body)


def test_paths(run: Run) -> None:
    def body() -> None:
        assert cgroupfs.plan(None, "pyrun-test-x")["path"] == "/pyrun-test-x"
        for same in ("/pyrun-test-x/y", "pyrun-test-x/y", "//pyrun-test-x/./y/"):
            assert cgroupfs.plan(same, "i")["path"] == "/pyrun-test-x/y"
        for wrong in (
            "/",
            ".",
            "..",
            "/pyrun-test-x/../y",
            "/pyrun-test-x\n",
            "x.slice:docker:y",
            ":docker:y",
        ):
            with pytest.raises(PyrunError) as caught:
                cgroupfs.plan(wrong, "i")
            assert caught.value.json_path == "linux.cgroupsPath"
        with pytest.raises(PyrunError, match="is a file of the cgroup above"):
            cgroupfs.plan("/cgroup.procs", "i")
        with pytest.raises(PyrunError, match="is a path for systemd"):
            cgroupfs.plan("system.slice:docker:1234", "i")

    run(body)


def test_removal_keeps_existing_cgroups(run: Run) -> None:
    def body() -> None:
        path = new_path("kept")
        with cgroup(path, container_id="outer") as outer:
            machine.forget_owner(outer)
            with cgroup(path) as record:
                assert record["made"] == []
                assert record["kept"] == directories(outer)
                pid = spawn(record, sleep)
                os.mkdir(directories(record)[-1] + "/below")
                cgroupfs.freeze(record)
            os.waitpid(pid, 0)
            assert all(os.path.isdir(directory) for directory in directories(outer))
            assert not cgroupfs.frozen(outer)
            assert not os.path.isdir(directories(record)[-1] + "/below")
            assert cgroupfs.pids(outer) == []

    run(body)


def test_unfit_cgroup_is_refused(run: Run) -> None:
    def body() -> None:
        path = new_path()

        def refused(reason: str, path: str = path) -> None:
            with pytest.raises(PyrunError, match=reason) as caught:
                cgroupfs.plan(path, "other")
            assert caught.value.json_path == "linux.cgroupsPath"

        with cgroup(path, container_id="first") as record:
            refused("has the container 'first', which is not deleted yet")
            machine.forget_owner(record)
            cgroupfs.plan(path, "other")
            pid = spawn(record, sleep)
            refused(f"has processes already, such as {pid}")
            removal.kill(record)
            os.waitpid(pid, 0)
            os.mkdir(directories(record)[0] + "/below")
            refused("has cgroups below it already")
            os.rmdir(directories(record)[0] + "/below")
            cgroupfs.freeze(record)
            refused("is frozen")
            refused("is frozen", path + "/new")
            cgroupfs.thaw(record)

    run(body)


def test_freezing_stops_all_and_thawing_lets_them_go_on(run: Run) -> None:
    def body() -> None:
        with cgroup() as record:
            reader, writer = os.pipe()
            os.set_blocking(reader, False)

            def count() -> None:
                os.fork()
                while True:
                    os.write(writer, b".")
                    time.sleep(0.001)

            def drained() -> int:
                try:
                    return len(os.read(reader, 1 << 16))
                except BlockingIOError:
                    return 0

            pid = spawn(record, count)
            wait_until(drained)
            assert not cgroupfs.frozen(record)
            cgroupfs.freeze(record)
            assert cgroupfs.frozen(record)
            drained()
            time.sleep(0.05)
            assert drained() == 0
            cgroupfs.thaw(record)
            assert not cgroupfs.frozen(record)
            wait_until(drained)
            cgroupfs.freeze(record)
            removal.kill(record)  # also of what is frozen
            os.waitpid(pid, 0)
        assert not cgroupfs.frozen(record)

    run(body)


@pytest.mark.parametrize("has_cgroup_kill", [True, False])
def test_fork_bomb_is_killed(run: Run, has_cgroup_kill: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    put = files.put

    def put_of_linux_5_10(directory: str, name: str, value: str) -> None:
        if name == "cgroup.kill":
            raise FileNotFoundError(errno.ENOENT, "no cgroup.kill before 5.14")
        put(directory, name, value)

    def body() -> None:
        if not has_cgroup_kill:
            monkeypatch.setattr(files, "put", put_of_linux_5_10)
        with cgroup() as record:

            def hydra() -> None:
                for _ in range(8):
                    if os.fork() == 0:
                        while True:  # eight heads, a new pid at every moment
                            if os.fork():
                                os._exit(0)

            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            spawn(record, hydra)
            time.sleep(0.2)
            assert cgroupfs.pids(record)
            start = time.monotonic()
            removal.kill(record)
            assert time.monotonic() - start < 5
            assert cgroupfs.pids(record) == []
            assert not cgroupfs.frozen(record)

    run(body)


def test_removal_removes_cgroups_of_the_container(run: Run) -> None:
    def body() -> None:
        with cgroup() as record:
            for directory in directories(record):
                os.makedirs(f"{directory}/x/y")
                os.mkdir(f"{directory}/z")
            pids = [spawn(record, sleep), spawn(record, sleep)]
            wait_until(lambda: len(cgroupfs.pids(record)) == 2)
            with open(f"{machine.main_directory(record)}/x/y/cgroup.procs", "w") as file:
                file.write(str(pids[1]))
            assert sorted(cgroupfs.pids(record)) == sorted(pids)
        for each in pids:
            assert os.waitpid(each, 0)[1] == signal.SIGKILL

    run(body)


def test_removal_of_cgroups_deeper_than_a_path_is_long(run: Run) -> None:
    def body() -> None:
        with cgroup() as record:
            directory = directories(record)[-1]
            fd = os.open(directory, os.O_RDONLY)
            for _ in range(40):
                os.mkdir("d" * 200, dir_fd=fd)
                below = os.open("d" * 200, os.O_RDONLY, dir_fd=fd)
                os.close(fd)
                fd = below
            os.close(fd)

    run(body)


def test_removal_kills_a_process_outside_the_freezer() -> None:
    if hierarchies.layout()["mode"] == "v2":
        pytest.skip("needs cgroup v1: several hierarchies")

    def body() -> None:
        with cgroup() as record:
            pid = spawn(record, sleep)
            freezer = machine.directory_of(record, "freezer")
            wait_until(lambda: cgroupfs.pids(record))
            with open(f"{os.path.dirname(freezer)}/cgroup.procs", "w") as file:
                file.write(str(pid))
            assert cgroupfs.pids(record) == []
        assert os.waitpid(pid, 0)[1] == signal.SIGKILL

    machine.run(body, pure_v2=False)


def test_the_caller_is_never_killed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> None:
        monkeypatch.setattr(removal, "PATIENCE", 0.1)
        with cgroup() as record:
            before = Path("/proc/self/cgroup").read_text()
            cgroupfs.attach(record, os.getpid())
            with pytest.raises(PyrunError, match="does not end"):
                removal.kill(record)
            for line in before.splitlines():
                _, name, path = line.split(":", 2)
                for hierarchy in record["hierarchies"]:
                    if hierarchy["name"] == (name or "unified"):
                        with open(f"{hierarchy['mount']}{path}/cgroup.procs", "w") as file:
                            file.write(str(os.getpid()))

    run(body)


def test_a_create_that_was_killed_midway_leaves_nothing(run: Run) -> None:
    def body() -> None:
        for steps in range(len(hierarchies.layout()["hierarchies"]) * 2):
            record = cgroupfs.plan(new_path("parent"), "killed")
            for directory in record["made"][:steps]:
                os.mkdir(directory)
            removal.remove(record)
            assert existing(record) == []
            removal.remove(record)

    run(body)


def test_last_container_removes_a_shared_parent(run: Run) -> None:
    def body() -> None:
        parent = new_path()
        with cgroup(f"{parent}/one") as one:
            second = cgroupfs.plan(f"{parent}/two", "two")
            cgroupfs.create(second)
            assert all(
                f"{hierarchy['mount']}{parent}" not in second["made"] for hierarchy in one["hierarchies"]
            )
            removal.remove(one)
            assert len(existing(second)) == 2 * len(second["hierarchies"])
            removal.remove(second)
            assert existing(second) == []

    run(body)


def test_containers_come_and_go_below_one_parent_at_the_same_time(run: Run) -> None:
    def body() -> None:
        parent = new_path()

        def life(worker: int) -> None:
            for turn in range(25):
                with cgroup(f"{parent}/{worker}-{turn}") as record:
                    pid = spawn(record, sleep)
                os.waitpid(pid, 0)

        workers = []
        for worker in range(3):
            pid = os.fork()
            if pid == 0:
                try:
                    life(worker)
                    os._exit(0)
                finally:
                    os._exit(1)
            workers.append(pid)
        assert [os.waitpid(pid, 0)[1] for pid in workers] == [0, 0, 0]
        for hierarchy in hierarchies.layout()["hierarchies"]:
            assert not os.path.exists(hierarchy["mount"] + parent)

    run(body)


def test_two_creates_on_one_path_at_the_same_time(run: Run) -> None:
    def body() -> None:
        path = new_path()
        first, second = cgroupfs.plan(path, "one"), cgroupfs.plan(path, "two")
        cgroupfs.create(first)
        pid = spawn(first, sleep)
        with pytest.raises(PyrunError, match="made by another at this moment"):
            cgroupfs.create(second)
        removal.remove(second)
        assert cgroupfs.pids(first) == [pid]
        removal.remove(first)
        os.waitpid(pid, 0)

    run(body)


def test_errors_name_the_cgroup(run: Run) -> None:
    def body() -> None:
        with pytest.raises(PyrunError) as caught:
            cgroupfs.plan("/" + "n" * 5000, "i")
        text = render(caught.value)
        assert text.startswith("linux.cgroupsPath: looking for the cgroup /sys/fs/cgroup/")
        assert text.endswith("nnn: File name too long")
        record = cgroupfs.plan(new_path(), "i")
        for question in (entrance.clone_fd, entrance.tasks):
            if question is entrance.tasks and len(record["hierarchies"]) == 1:
                continue
            with pytest.raises(PyrunError, match="opening the cgroup"):
                question(record)

    run(body)
