"""Bundles, and the runtime under test: what the fixtures of conftest.py hand out.

Tests observe effects, from inside (a busybox shell in the container) or from outside (/proc/PID, cgroup files).
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from oci_spec import defaults

Config = dict[str, Any]
Change = Callable[[Config], None]

TIME_LIMIT = 30.0  # seconds for one command of the runtime
PREFIX = "pyrun-test-"
# What the caller has in its environment: the second one must never be seen in a container or hook.
CALLER = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "CALLER_SECRET": "leaked"}

_numbers = itertools.count()


def new_id() -> str:
    """A container id that nothing else on this machine uses."""
    return f"{PREFIX}{os.getpid()}-{next(_numbers)}"


def make_rootfs(path: Path, busybox: str) -> Path:
    """A small root file system in the new folder `path`: busybox, its applets, and the usual folders."""
    for folder in ("bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "usr", "var"):
        (path / folder).mkdir(parents=True)
    (path / "tmp").chmod(0o1777)
    try:
        os.link(busybox, path / "bin/busybox")
    except OSError:  # another file system
        (path / "bin/busybox").write_bytes(Path(busybox).read_bytes())
        (path / "bin/busybox").chmod(0o755)
    for applet in applets(busybox):
        with contextlib.suppress(FileExistsError):
            os.symlink("busybox", path / "bin" / applet)
    (path / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n")
    (path / "etc/group").write_text("root:x:0:\nuser:x:1000:\n")
    return path


_applets: list[str] = []


def applets(busybox: str) -> list[str]:
    """The names of busybox's programs."""
    if not _applets:
        _applets.extend(
            subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
        )
    return _applets


def default_config() -> Config:
    """What `pyrun spec` writes, without a terminal, and with a program that does nothing."""
    config: Config = copy.deepcopy(dict(defaults.document()))
    config["process"]["terminal"] = False
    config["process"]["args"] = ["true"]
    return config


def merge(config: Config, changes: Config) -> None:
    """Merge `changes` into `config`: objects name by name, everything else replaced, None deletes."""
    for key, value in changes.items():
        if value is None:
            config.pop(key, None)
        elif isinstance(value, dict) and isinstance(config.get(key), dict):
            merge(config[key], value)
        else:
            config[key] = value


@dataclass
class Bundle:
    """A bundle on disk; change `config` and `write` it."""

    path: Path
    config: Config

    @property
    def rootfs(self) -> Path:
        """The root file system."""
        return self.path / "rootfs"

    def write(self) -> Bundle:
        """Write config.json."""
        (self.path / "config.json").write_text(json.dumps(self.config))
        return self

    def args(self, *args: str) -> Bundle:
        """Set the program's arguments."""
        self.config["process"]["args"] = list(args)
        return self.write()

    def sh(self, script: str) -> Bundle:
        """Let the program be a shell script."""
        return self.args("sh", "-c", script)

    def script(self, path: str, text: str, mode: int = 0o755) -> Path:
        """Write a file into the root file system."""
        where = self.rootfs / path.lstrip("/")
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_text(text)
        where.chmod(mode)
        return where

    def mount(self, destination: str, kind: str, source: str, *options: str) -> Bundle:
        """Add a mount ("" for no type)."""
        entry: Config = {"destination": destination, "source": source, "options": list(options)}
        if kind:
            entry["type"] = kind
        self.config["mounts"].append(entry)
        return self.write()

    def namespace(self, kind: str, path: str | None = "") -> Bundle:
        """Ask for a namespace: a new one, one by path, or (None) the runtime's own."""
        linux = self.config["linux"]
        linux["namespaces"] = [entry for entry in linux["namespaces"] if entry["type"] != kind]
        if path is not None:
            linux["namespaces"].append({"type": kind, "path": path} if path else {"type": kind})
        return self.write()

    def user_namespace(self, host_id: int = 100000, size: int = 65536) -> Bundle:
        """Ask for a user namespace whose root is `host_id`, and let it reach its root file system."""
        mapping = [{"containerID": 0, "hostID": host_id, "size": size}]
        self.config["linux"]["uidMappings"] = mapping
        self.config["linux"]["gidMappings"] = mapping
        for folder in (self.path, self.path.parent, self.rootfs):
            folder.chmod(0o755)
        os.chown(self.rootfs, host_id, host_id)
        return self.namespace("user")

    def hook(self, kind: str, script: str, **more: Any) -> Bundle:
        """Add a hook that is a shell script, of the host's shell or (startContainer) the container's."""
        entry = {"path": "/bin/sh", "args": ["sh", "-c", script], **more}
        self.config.setdefault("hooks", {}).setdefault(kind, []).append(entry)
        return self.write()


@dataclass
class Result:
    """How a command of the runtime ended. `out` and `err` are what it had written by then."""

    code: int
    out: str
    err: str
    out_file: Path

    def lines(self) -> list[str]:
        """Standard output by lines."""
        return self.out.splitlines()


@dataclass
class Container:
    """A container that `Pyrun.create` made."""

    pyrun: Pyrun
    id: str
    bundle: Bundle
    out_file: Path

    @property
    def pid(self) -> int:
        """The host's number of its process."""
        return int(self.state()["pid"])

    def state(self) -> Config:
        """The state document."""
        return self.pyrun.state(self.id)

    @property
    def status(self) -> str:
        """creating, created, running or stopped."""
        return str(self.state()["status"])

    def start(self) -> None:
        """Start the program."""
        self.pyrun.ok("start", self.id)

    def kill(self, *arguments: str) -> None:
        """Signal it."""
        self.pyrun.ok("kill", self.id, *arguments)

    def exec(self, program: Sequence[str], *options: str, **more: Any) -> Result:
        """`exec` in it, in the foreground."""
        return self.pyrun("exec", *options, self.id, *program, **more)

    def sh(self, script: str, *options: str, **more: Any) -> str:
        """What a shell script writes that `exec` runs in it; it must succeed, and silently."""
        result = self.exec(("sh", "-c", script), *options, **more)
        assert (result.code, result.err) == (0, ""), result
        return result.out

    def exec_refused(self, program: Sequence[str], *options: str, **more: Any) -> str:
        """The sentence of an `exec` that must fail."""
        return self.pyrun.error("exec", *options, self.id, *program, **more)

    def delete(self, *options: str) -> None:
        """Delete it."""
        self.pyrun.ok("delete", *options, self.id)

    def wait(self) -> None:
        """Wait until it is stopped."""
        eventually(lambda: self.status == "stopped", "the container didn't stop")

    def out(self) -> str:
        """What its program and hooks have written so far."""
        return self.out_file.read_text(errors="surrogateescape")

    def finish(self) -> str:
        """Start, wait for the end, delete; what the program has written."""
        self.start()
        self.wait()
        self.delete()
        return self.out()


@dataclass
class Foreground:
    """A container that `run` runs in the foreground, while it does."""

    pyrun: Pyrun
    id: str
    process: subprocess.Popen[bytes]
    out_file: Path
    err_file: Path

    def out(self) -> str:
        """What the program has written so far."""
        return self.out_file.read_text(errors="surrogateescape")

    def until(self, text: str) -> None:
        """Wait until the program has written `text`."""
        eventually(
            lambda: text in self.out(), f"no {text!r} from the program; stderr: {self.err_file.read_text()!r}"
        )

    def kill(self, name: str) -> None:
        """Signal the container."""
        self.pyrun.ok("kill", self.id, name)

    def end(self) -> int:
        """Wait for the end of `run`: its exit status. It must have said nothing."""
        try:
            status = self.process.wait(TIME_LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("run doesn't end") from None
        assert self.err_file.read_text() == ""
        return status


def eventually(condition: Callable[[], Any], failure: str, seconds: float = 10.0) -> Any:
    """Wait until `condition` is true, and return what it returned."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, failure
        time.sleep(0.005)
    return found


class Pyrun:
    """The runtime under test with a root folder of its own."""

    def __init__(self, runtime: Path, folder: Path) -> None:
        self.runtime = runtime
        self.folder = folder
        self.root = folder / "root"
        self.calls = folder / "calls"
        self.calls.mkdir(parents=True)
        self.ids: list[str] = []
        self.wrapper: list[str] = []  # a program that executes the runtime: `unshare -m`, say
        self.running: list[subprocess.Popen[bytes]] = []
        self._count = 0

    def popen(
        self, *arguments: str, stdout: Any, stderr: Any, env: dict[str, str] | None = None, **more: Any
    ) -> Any:
        """Begin a command line; the caller waits for it."""
        self._remember(arguments)
        argv = [*self.wrapper, str(self.runtime), "--root", str(self.root), *arguments]
        more.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen(
            argv, stdout=stdout, stderr=stderr, env=CALLER if env is None else env, **more
        )

    def __call__(
        self,
        *arguments: str,
        stdin: int | IO[Any] = subprocess.DEVNULL,
        data: bytes | None = None,
        time_limit: float = TIME_LIMIT,
        **more: Any,
    ) -> Result:
        """Run a command line to its end. Output goes to files, since a container keeps them open."""
        self._count += 1
        out_file, err_file = self.calls / f"out-{self._count}", self.calls / f"err-{self._count}"
        with out_file.open("wb") as out, err_file.open("wb") as err:
            feed = subprocess.PIPE if data is not None else stdin
            process = self.popen(*arguments, stdin=feed, stdout=out, stderr=err, **more)
            try:
                process.communicate(data, timeout=time_limit)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise AssertionError(f"pyrun {' '.join(arguments)}: not done after {time_limit} s") from None
        out_text, err_text = (
            path.read_bytes().decode(errors="surrogateescape") for path in (out_file, err_file)
        )
        return Result(process.returncode, out_text, err_text, out_file)

    def _remember(self, arguments: Sequence[str]) -> None:
        self.ids += [word for word in arguments if word.startswith(PREFIX) and word not in self.ids]

    def ok(self, *arguments: str, **more: Any) -> Result:
        """Run a command line that must succeed without a word on standard error."""
        result = self(*arguments, **more)
        assert (result.code, result.err) == (0, ""), f"pyrun {' '.join(arguments)}: {result}"
        return result

    def error(self, *arguments: str, **more: Any) -> str:
        """Run a command line that must fail with exit status 1 (`exec` with 255, as runc) and one sentence, which is
        returned."""
        result = self(*arguments, **more)
        assert result.code == (255 if arguments[0] == "exec" else 1), f"pyrun {' '.join(arguments)}: {result}"
        sentence = result.err.removesuffix("\n")
        assert sentence.startswith("pyrun: "), result
        assert "\n" not in sentence, result
        assert "internal error" not in sentence, result
        return sentence.removeprefix("pyrun: ")

    def run(self, bundle: Bundle, *options: str, **more: Any) -> Result:
        """`run` in the foreground."""
        return self("run", "--bundle", str(bundle.path), *options, new_id(), **more)

    def output(self, bundle: Bundle, *options: str, **more: Any) -> str:
        """What the program of a bundle writes when it is run; it must succeed, and silently."""
        result = self.run(bundle, *options, **more)
        assert (result.code, result.err) == (0, ""), result
        return result.out

    def refused(self, bundle: Bundle, *options: str, **more: Any) -> str:
        """`create` that must fail and leave nothing behind; returns its sentence."""
        container_id = new_id()
        sentence = self.error("create", "--bundle", str(bundle.path), *options, container_id, **more)
        self.assert_gone(container_id)
        return sentence

    def create(self, bundle: Bundle, *options: str, **more: Any) -> Container:
        """`create`, which must succeed."""
        container_id = new_id()
        result = self.ok("create", "--bundle", str(bundle.path), *options, container_id, **more)
        return Container(self, container_id, bundle, result.out_file)

    def start(self, bundle: Bundle, *options: str, **more: Any) -> Container:
        """`create` and `start`."""
        container = self.create(bundle, *options, **more)
        container.start()
        return container

    def popen_run(self, bundle: Bundle, *options: str, **more: Any) -> Foreground:
        """Begin a `run` in the foreground."""
        container_id = self.id()
        out_file, err_file = self.calls / f"{container_id}-out", self.calls / f"{container_id}-err"
        with out_file.open("wb") as out, err_file.open("wb") as err:
            argv = ["run", "--bundle", str(bundle.path), *options, container_id]
            process = self.popen(*argv, stdout=out, stderr=err, **more)
        self.running.append(process)
        return Foreground(self, container_id, process, out_file, err_file)

    def id(self) -> str:
        """A new id, which is looked after at the end of the test."""
        self.ids.append(new_id())
        return self.ids[-1]

    def state(self, container_id: str) -> Config:
        """The state document of a container."""
        document: Config = json.loads(self.ok("state", container_id).out)
        return document

    def assert_gone(self, *ids: str) -> None:
        """Nothing of these containers is left: state, cgroups, processes."""
        assert not [each for each in ids if (self.root / each).exists()]
        assert not list(cgroups_of(ids))
        assert not list(processes_of(ids))

    def leftovers(self) -> list[str]:
        """Delete all containers by force, and say what is there all the same."""
        found = []
        self.wrapper = []
        for process in self.running:
            if process.poll() is None:
                process.kill()
                process.wait()
        names = os.listdir(self.root) if self.root.exists() else []
        for name in names:
            if not name.startswith("."):
                result = self("delete", "--force", name)
                if (result.code, result.err) != (0, ""):
                    found.append(f"delete --force {name}: {result}")
        if self.root.exists():
            found += [f"state {name}" for name in os.listdir(self.root) if not name.startswith(".")]
        found += [f"cgroup {path}" for path in cgroups_of(self.ids)]
        found += [f"process {text}" for text in processes_of(self.ids)]
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        found += [f"mount {line}" for line in mounts if f"{self.folder}/" in line]
        return found


def read_record(path: Path) -> Config:
    """What the lines of a state.json add up to; the N bytes of config.json behind a line "config N" are left out."""
    record: Config = {}
    data = path.read_bytes()
    while data:
        line, _, data = data.partition(b"\n")
        if line.startswith(b"config "):
            data = data[int(line.split()[1]) + 1 :]
        else:
            record.update(json.loads(line))
    return record


def cgroups_of(ids: Sequence[str]) -> Iterator[str]:
    """Cgroups, in all hierarchies, whose name has one of the ids."""
    if ids:
        for folder, below, _ in os.walk("/sys/fs/cgroup"):
            for name in below:
                if PREFIX in name and any(name.startswith(each) or name.endswith(each) for each in ids):
                    yield f"{folder}/{name}"


def processes_of(ids: Sequence[str]) -> Iterator[str]:
    """Living processes whose cgroup or command line has one of the ids. (Who reaps an orphan is the host's affair.)"""
    own = os.getpid()
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != own:
            try:
                words = (
                    Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
                text = words + "\n" + Path(f"/proc/{name}/cgroup").read_text()
                if Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X"):
                    continue
            except OSError:
                continue
            if PREFIX in text and any(f"{each}{end}" in text for each in ids for end in (" ", "\n", "/")):
                yield f"{name} {text}"


def process_status(pid: int) -> dict[str, str]:
    """/proc/PID/status as a dictionary."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {line.split(":", 1)[0]: line.split(":", 1)[1].strip() for line in lines}


def wait_for_file(path: Path) -> str:
    """Wait until a file is there and has a whole line; its text."""
    found: str = eventually(
        lambda: path.exists() and path.read_text().endswith("\n") and path.read_text(), f"no {path}"
    )
    return found


@contextlib.contextmanager
def sleeping(*wrapper: str) -> Iterator[int]:
    """A process of the host, started by a wrapper such as `unshare --net`; its pid."""
    process = subprocess.Popen([*wrapper, "sleep", "1000"])
    try:
        eventually(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "sleep\n", "sleep didn't start")
        yield process.pid
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
