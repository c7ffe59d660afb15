"""What a container must do under every engine: the tests shared by podman and docker.

Each engine's module has a class that inherits these tests and an `engine` fixture for the whole module.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import re
import signal
import time
from pathlib import Path

import pytest

from .engine import IMAGE, Engine
from .private_host import cgroup_mounts

CAP_NET_ADMIN = 12  # linux/capability.h


def status_field(status: str, name: str) -> str:
    """The value of one line of /proc/PID/status."""
    found = re.search(rf"^{name}:\s*(.*)$", status, re.MULTILINE)
    assert found, f"no {name} in {status!r}"
    return found.group(1)


def cgroup_file(v1: str, v2: str) -> str:
    """Where a container sees one of its limits: the file's path, v1 or v2, or a skip."""
    for mount in cgroup_mounts():
        if (mount / v1.partition("/")[2]).parent.is_dir() and mount.name == v1.partition("/")[0]:
            return f"/sys/fs/cgroup/{v1}"
    controllers = Path("/sys/fs/cgroup/cgroup.controllers")
    if controllers.exists() and v2.partition(".")[0] in controllers.read_text().split():
        return f"/sys/fs/cgroup/{v2}"
    pytest.skip(f"needs a cgroup controller for {v2}: this machine has none")


class ExitStatus:
    """The engine passes on the program's exit status, or says why there was no program."""

    @pytest.mark.parametrize(
        ("program", "status"),
        [
            (("true",), 0),
            (("false",), 1),
            (("sh", "-c", "exit 42"), 42),
            (("sh", "-c", "sh -c 'kill -9 $$'; exit $?"), 137),
        ],
    )
    def test_is_passed_on(self, engine: Engine, program: tuple[str, ...], status: int) -> None:
        assert engine.run((), *program).returncode == status

    def test_of_a_killed_container(self, engine: Engine) -> None:
        name = engine.start((), "sleep", "1000")
        engine.output("kill", name)
        assert engine.output("wait", name) == "137"
        engine.remove(name)

    @pytest.mark.parametrize("program", ["not-there", "/not/there"])
    def test_of_a_missing_program(self, engine: Engine, program: str) -> None:
        done = engine.run((), program)
        assert done.returncode == 127, done.stderr
        assert program in done.stderr
        assert re.search("executable file .*not found|no such file or directory", done.stderr, re.IGNORECASE)

    @pytest.mark.parametrize("program", ["/etc/not-executable", "/etc"])
    def test_of_a_file_that_cannot_be_executed(self, engine: Engine, program: str) -> None:
        done = engine.run((), program)
        assert done.returncode == 126, done.stderr
        assert program in done.stderr
        assert "permission denied" in done.stderr.lower()

    def test_of_a_missing_interpreter(self, engine: Engine, tmp_path: Path) -> None:
        script = tmp_path / "script"
        script.write_text("#!/not/there/sh\n")
        script.chmod(0o755)
        done = engine.run(("--volume", f"{script}:/script:ro"), "/script")
        assert done.returncode != 0
        assert "/script" in done.stderr

    def test_of_a_bad_working_directory(self, engine: Engine) -> None:
        done = engine.run(("--workdir", "/etc/passwd"), "true")
        assert done.returncode >= 125, done.stderr
        assert "/etc/passwd" in done.stderr


class LifeCycle:
    """Containers that run in the background."""

    TRAP = "trap 'echo bye; exit 3' TERM; echo started; echo problem >&2; while :; do sleep 0.05; done"

    def test_run_logs_stop_remove(self, engine: Engine) -> None:
        name = engine.start((), "sh", "-c", self.TRAP)
        engine.wait_for_log(name, "started")
        assert engine.inspect(name, "{{.State.Status}}") == "running"
        before = time.monotonic()
        engine.output("stop", name)
        assert time.monotonic() - before < 8, "SIGTERM wasn't handled, stop waited for its time-out"
        assert engine.inspect(name, "{{.State.Status}} {{.State.ExitCode}}") == "exited 3"
        logs = engine.call("logs", name)
        assert (logs.stdout, logs.stderr) == ("started\nbye\n", "problem\n")
        engine.output("rm", name)
        assert name not in engine.output("ps", "--all", "--format", "{{.Names}}").split()

    def test_stop_kills_what_ignores_sigterm(self, engine: Engine) -> None:
        name = engine.start((), "sh", "-c", "trap '' TERM; echo started; while :; do sleep 0.05; done")
        engine.wait_for_log(name, "started")
        engine.output("stop", "--time", "1", name)
        assert engine.inspect(name, "{{.State.ExitCode}}") == "137"
        engine.remove(name)

    def test_kill_with_a_signal(self, engine: Engine) -> None:
        script = "trap 'echo got it' USR1; echo started; while :; do sleep 0.05; done"
        name = engine.start((), "sh", "-c", script)
        engine.wait_for_log(name, "started")
        engine.output("kill", "--signal", "USR1", name)
        engine.wait_for_log(name, "got it")
        assert engine.inspect(name, "{{.State.Running}}") == "true"
        engine.remove(name)

    def test_starts_again_after_its_end(self, engine: Engine) -> None:
        name = engine.start((), "sh", "-c", "echo x >> /file; wc -l < /file")
        engine.output("wait", name)
        engine.output("start", name)
        engine.output("wait", name)
        assert engine.output("logs", name).split() == ["1", "2"]
        engine.remove(name)

    def test_create_doesnt_start(self, engine: Engine) -> None:
        engine.output("create", "--name", "created", *engine.run_options, IMAGE, "echo", "hello")
        assert engine.inspect("created", "{{.State.Status}}") == "created"
        assert engine.output("start", "--attach", "created") == "hello"
        engine.remove("created")

    def test_eight_at_a_time(self, engine: Engine) -> None:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            outputs = list(pool.map(lambda number: engine.run_output((), "echo", str(number)), range(8)))
        assert outputs == [str(number) for number in range(8)]

    def test_nothing_is_left(self, engine: Engine) -> None:
        name = engine.start((), "sleep", "1000")
        identity = engine.inspect(name, "{{.Id}}")
        assert identity in str(engine.host.cgroups())
        engine.remove(name)
        assert identity not in str(engine.host.cgroups())
        assert identity not in engine.host.run("cat", "/proc/self/mountinfo").stdout
        assert engine.host.run("find", "/run", "-name", f"*{identity}*").stdout == ""

    def test_the_tested_runtime_was_called(self, engine: Engine) -> None:
        engine.runtime_log.write_text("")
        engine.output(*engine.logged_run, "--rm", *engine.run_options, IMAGE, "true")
        calls = engine.runtime_log.read_text()
        for command in ("create --bundle", "start", "delete --force"):
            assert command in calls, calls


class Streams:
    """stdin, stdout, stderr and terminals."""

    def test_stdin_is_piped(self, engine: Engine) -> None:
        data = b"0123456789abcdef" * 65536
        digest = engine.run_output(("--interactive",), "sha256sum", stdin=data).split()[0]
        assert digest == hashlib.sha256(data).hexdigest()

    def test_stdout_and_stderr_are_apart(self, engine: Engine) -> None:
        done = engine.run((), "sh", "-c", "echo out; echo err >&2")
        assert (done.stdout, done.stderr) == ("out\n", "err\n")

    def test_another_user_opens_its_streams(self, engine: Engine) -> None:
        """Images whose ordinary user logs to /dev/stdout and /dev/stderr: the pipes are that user's."""
        script = "cat /dev/stdin; echo out > /dev/stdout; echo err > /dev/stderr"
        done = engine.run(("--interactive", "--user", "1000:1001"), "sh", "-c", script, stdin=b"in\n")
        assert (done.returncode, done.stdout, done.stderr) == (0, "in\nout\n", "err\n")

    def test_the_null_device_is_the_containers(self, engine: Engine) -> None:
        """Without --interactive stdin is the null device: not the host's, whose mode its root could change."""
        assert engine.run_output((), "sh", "-c", "test /dev/null -ef /proc/self/fd/0 && echo own") == "own"

    def test_no_terminal_without_tty(self, engine: Engine) -> None:
        assert engine.run((), "tty").stdout == "not a tty\n"

    def test_terminal(self, engine: Engine) -> None:
        """A shell on a terminal: its size, a change of it, ctrl-C, echo, and the exit status."""
        with engine.terminal((), "sh") as terminal:
            before = terminal.settings()
            terminal.read_until("# ")
            terminal.enter('tty; echo $(stty size) s""ize\n')
            assert "/dev/pts/0" in terminal.read_until("33 99 size")
            terminal.enter('while [ "$(stty size)" != \'20 70\' ]; do sleep 0.05; done; echo re""sized\n')
            for _ in range(40):  # a client that isn't yet ready for SIGWINCH loses one
                terminal.resize(20, 71)
                terminal.resize(20, 70)
                if terminal.sees("resized", 0.5):
                    break
            terminal.read_until("resized")
            terminal.enter("trap 'echo inter\"\"rupted; stop=1' INT\n")
            terminal.enter('while [ -z "$stop" ]; do echo wait""ing; sleep 0.05; done\n')
            terminal.read_until("waiting")
            terminal.enter("\x03")
            terminal.read_until("interrupted")
            terminal.read_until("# ")
            terminal.enter("exit 5\n")
            assert terminal.wait() == 5
            assert terminal.settings() == before, "the user's terminal wasn't put back in order"

    def test_console_device(self, engine: Engine) -> None:
        script = "echo to the console > /dev/console; test -c /dev/console"
        with engine.terminal((), "sh", "-c", script) as terminal:
            terminal.read_until("to the console")
            assert terminal.wait() == 0


class Options:
    """Options of `run` that become properties of the configuration."""

    def test_user_by_number(self, engine: Engine) -> None:
        assert engine.run_output(("--user", "1000:1001"), "id").startswith("uid=1000(user) gid=1001(user)")

    def test_user_by_name_with_groups(self, engine: Engine) -> None:
        output = engine.run_output(("--user", "user", "--group-add", "3000"), "id")
        assert output.startswith("uid=1000(user) gid=1001(user)")
        assert "3000" in output

    def test_environment_and_working_directory(self, engine: Engine) -> None:
        output = engine.run_output(
            ("--env", "GREETING=hello there", "--workdir", "/home/user"), "sh", "-c", "echo $GREETING; pwd"
        )
        assert output == "hello there\n/home/user"

    def test_read_only_root(self, engine: Engine) -> None:
        done = engine.run(("--read-only",), "touch", "/file")
        assert done.returncode == 1
        assert "Read-only file system" in done.stderr

    def test_capabilities(self, engine: Engine) -> None:
        options = ("--cap-drop", "ALL", "--cap-add", "NET_ADMIN")
        status = engine.run_output(options, "cat", "/proc/self/status")
        for name in ("CapPrm", "CapEff", "CapBnd"):
            assert int(status_field(status, name), 16) == 1 << CAP_NET_ADMIN, name
        assert int(status_field(status, "CapAmb"), 16) == 0

    def test_no_capabilities_for_a_user(self, engine: Engine) -> None:
        status = engine.run_output(("--user", "1000"), "cat", "/proc/self/status")
        assert int(status_field(status, "CapEff"), 16) == 0

    def test_privileges_are_dropped(self, engine: Engine) -> None:
        done = engine.run((), "mount", "-t", "tmpfs", "tmpfs", "/tmp")
        assert done.returncode != 0
        assert "ermitted" in done.stderr or "denied" in done.stderr

    def test_volumes(self, engine: Engine, tmp_path: Path) -> None:
        for name in ("writable", "readable"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "file").write_text(name)
        options = (
            "--volume",
            f"{tmp_path}/writable:/writable",
            "--volume",
            f"{tmp_path}/readable:/readable:ro",
        )
        script = "cat /readable/file /writable/file; echo new > /writable/new; echo new > /readable/new"
        done = engine.run(options, "sh", "-c", script)
        assert done.stdout == "readablewritable"
        assert "Read-only file system" in done.stderr
        assert (tmp_path / "writable/new").read_text() == "new\n"
        assert not (tmp_path / "readable/new").exists()

    def test_a_volume_that_is_one_file(self, engine: Engine, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("content")
        assert (
            engine.run_output(("--volume", f"{tmp_path}/file:/new/folder/file"), "cat", "/new/folder/file")
            == "content"
        )

    def test_tmpfs(self, engine: Engine) -> None:
        output = engine.run_output(
            ("--tmpfs", "/scratch:size=1m,mode=1770,noexec"),
            "sh",
            "-c",
            "grep ' /scratch ' /proc/mounts; stat -c %a /scratch",
        )
        assert "size=1024k" in output
        assert "noexec" in output
        assert output.endswith("1770")

    def test_tmpfs_has_the_mode_of_what_it_covers(self, engine: Engine) -> None:
        assert engine.run_output(("--tmpfs", "/tmp:size=1m"), "stat", "-c", "%a", "/tmp") == "1777"

    def test_hostname(self, engine: Engine) -> None:
        assert engine.run_output(("--hostname", "example"), "hostname") == "example"

    def test_ulimit(self, engine: Engine) -> None:
        output = engine.run_output(
            ("--ulimit", "core=0:0", "--ulimit", "nofile=512:1000"),
            "sh",
            "-c",
            "ulimit -Sn; ulimit -Hn; ulimit -Hc",
        )
        assert output.split() == ["512", "1000", "0"]

    def test_sysctl(self, engine: Engine) -> None:
        options = ("--sysctl", "kernel.shmmni=1234")
        assert engine.run_output(options, "cat", "/proc/sys/kernel/shmmni") == "1234"

    def test_pids_limit(self, engine: Engine) -> None:
        path = cgroup_file("pids/pids.max", "pids.max")
        script = f"cat {path}; for n in 1 2 3 4 5 6 7 8 9; do sleep 1 & done"
        done = engine.run(("--pids-limit", "6"), "sh", "-c", script)
        assert done.stdout.split() == ["6"]
        assert "can't fork" in done.stderr

    def test_memory(self, engine: Engine) -> None:
        path = cgroup_file("memory/memory.limit_in_bytes", "memory.max")
        assert engine.run_output(("--memory", "32m"), "cat", path) == str(32 << 20)

    def test_cpu(self, engine: Engine) -> None:
        path = cgroup_file("cpu/cpu.cfs_quota_us", "cpu.max")
        output = engine.run_output(("--cpu-quota", "25000", "--cpu-period", "50000"), "cat", path)
        assert output.split()[0] == "25000"

    def test_device(self, engine: Engine) -> None:
        """The device works; one that wasn't given is refused by the cgroup even to root with mknod."""
        script = "head -c 3 /dev/other | od -An -tx1; mknod /kmsg c 1 11 && head -c 1 /kmsg"
        done = engine.run(("--device", "/dev/zero:/dev/other", "--cap-add", "MKNOD"), "sh", "-c", script)
        assert done.stdout.strip() == "00 00 00"
        assert "Operation not permitted" in done.stderr

    @pytest.mark.parametrize("path", ["/dev/urandom", "/dev/tty"])
    def test_device_at_the_path_of_a_default_one(self, engine: Engine, path: str) -> None:
        """The device that is asked for takes the place of the one that every container has."""
        options = ("--device", f"/dev/full:{path}")
        assert engine.run_output(options, "stat", "-c", "%t:%T", path) == "1:7"

    def test_tmpfs_over_a_folder_is_open_to_no_more(self, engine: Engine) -> None:
        """--tmpfs without a mode doesn't open a folder of the image to everybody."""
        mode = ("stat", "-c", "%a", "/root")
        assert engine.run_output(("--tmpfs", "/root"), *mode) == engine.run_output((), *mode)

    def test_ptmx_of_the_host_is_not_passed_on(self, engine: Engine) -> None:
        """--device /dev/ptmx leaves the container its own terminals."""
        options = ("--device", "/dev/ptmx")
        assert engine.run_output(options, "readlink", "/dev/ptmx") == "pts/ptmx"

    def test_default_devices(self, engine: Engine) -> None:
        script = """
            for n in null zero full random urandom tty ptmx; do test -c /dev/$n || echo no $n; done
            for n in fd stdin stdout stderr; do readlink /dev/$n; done
            echo x > /dev/null; head -c 2 /dev/urandom | wc -c"""
        output = engine.run_output((), "sh", "-c", script)
        assert output.split() == ["/proc/self/fd", *(f"/proc/self/fd/{n}" for n in (0, 1, 2)), "2"]

    def test_masked_and_read_only_paths(self, engine: Engine) -> None:
        script = """
            cat /proc/keys /proc/timer_list | wc -c
            ls /sys/firmware | wc -l
            echo 1 > /proc/sys/kernel/printk"""
        done = engine.run((), "sh", "-c", script)
        assert done.stdout.split() == ["0", "0"]
        assert "Read-only file system" in done.stderr


class Security:
    """--security-opt."""

    def test_seccomp_is_on_by_default(self, engine: Engine) -> None:
        status = engine.run_output((), "cat", "/proc/self/status")
        assert status_field(status, "Seccomp") == "2", "the engine's default profile isn't loaded"

    def test_seccomp_unconfined(self, engine: Engine) -> None:
        status = engine.run_output(("--security-opt", "seccomp=unconfined"), "cat", "/proc/self/status")
        assert status_field(status, "Seccomp") == "0"

    def test_seccomp_profile(self, engine: Engine, tmp_path: Path) -> None:
        profile = tmp_path / "profile.json"
        profile.write_text(
            json.dumps(
                {
                    "defaultAction": "SCMP_ACT_ALLOW",
                    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}],
                }
            )
        )
        options = ("--security-opt", f"seccomp={profile}")
        done = engine.run(options, "sh", "-c", "touch /file && mkdir /folder")
        assert done.returncode == 1
        assert "No space left on device" in done.stderr

    def test_seccomp_kills(self, engine: Engine, tmp_path: Path) -> None:
        profile = tmp_path / "profile.json"
        profile.write_text(
            json.dumps(
                {
                    "defaultAction": "SCMP_ACT_ALLOW",
                    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}],
                }
            )
        )
        done = engine.run(("--security-opt", f"seccomp={profile}"), "sh", "-c", "mkdir /folder")
        assert done.returncode == 128 + signal.SIGSYS

    def test_no_new_privileges(self, engine: Engine) -> None:
        status = engine.run_output(("--security-opt", "no-new-privileges"), "cat", "/proc/self/status")
        assert status_field(status, "NoNewPrivs") == "1"
        assert status_field(engine.run_output((), "cat", "/proc/self/status"), "NoNewPrivs") == "0"


def host_devices() -> set[str]:
    """The names of the device nodes directly in the host's /dev, which a privileged container has all of. (Engines
    leave the console out, and whose own the terminals are.)"""
    return {
        path.name
        for path in Path("/dev").iterdir()
        if (path.is_char_device() or path.is_block_device()) and not path.is_symlink()
    } - {"console"}


# For a privileged container of any engine: the target of /dev/ptmx, a word each for /sys and /proc/sys that can be
# written, its own host name changed through the latter, and its devices.
PRIVILEGED = """
readlink /dev/ptmx
grep -q ' /sys sysfs rw' /proc/mounts && echo sys
grep -q ' /proc/sys ' /proc/mounts || echo proc
echo mine > /proc/sys/kernel/hostname && cat /proc/sys/kernel/hostname
ls /dev"""


def is_privileged(output: str) -> None:
    """Check what PRIVILEGED printed."""
    assert output.split()[:4] == ["pts/ptmx", "sys", "proc", "mine"]
    assert set(output.split()[4:]) >= host_devices()


class Privileged:
    """--privileged: every device of the host, nothing masked or read-only; a host's /dev/ptmx is among the devices."""

    @pytest.mark.parametrize("more", [(), ("--read-only",)], ids=["writable", "read-only"])
    def test_privileged(self, engine: Engine, more: tuple[str, ...]) -> None:
        is_privileged(engine.run_output(("--privileged", *more), "sh", "-c", PRIVILEGED))

    def test_a_privileged_container_on_a_terminal(self, engine: Engine) -> None:
        """It has a terminal of its own all the same."""
        with engine.terminal(("--privileged",), "sh", "-c", "tty; ls -l /dev/console; exit 5") as terminal:
            assert "/dev/pts/0" in terminal.read_until("/dev/console")
            assert terminal.wait() == 5


class EngineBehaviour(ExitStatus, LifeCycle, Streams, Options, Security, Privileged):
    """All of them."""
