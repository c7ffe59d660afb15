"""buildah calls the runtime for each RUN step: create, start, state until it has stopped, delete."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .engine import write_wrapper
from .private_host import Done, PrivateHost, need

CONFIGURATION = Path(__file__).resolve().parents[2] / "contrib/podman/containers.conf"
INSTALLED = "/usr/local/bin/pyrun"  # the path that the file under contrib/ names


class Buildah:
    """buildah on its private host; `base` is an image that every test may build on."""

    base = "localhost/base"

    def __init__(self, host: PrivateHost, runtime: Path, log: Path) -> None:
        self.host = host
        self.runtime_log = log
        # The limits: buildah asks for more than a machine without CAP_SYS_RESOURCE may have.
        self.limits = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096")
        self.runtime_options = ("--runtime", str(runtime), "--isolation", "oci")

    def call(self, *arguments: str, stdin: bytes = b"") -> Done:
        """Run a subcommand of buildah."""
        storage = ("--root", "/var/lib/root", "--runroot", "/run/root", "--storage-driver", "vfs")
        return self.host.run("buildah", *storage, *arguments, stdin=stdin)

    def output(self, *arguments: str, stdin: bytes = b"") -> str:
        """Standard output of a subcommand that has to succeed."""
        done = self.call(*arguments, stdin=stdin)
        assert done.returncode == 0, f"{' '.join(arguments)} failed with {done.returncode}: {done.stderr}"
        return done.stdout.strip()

    def build(self, folder: Path, containerfile: str, *options: str) -> Done:
        """Build the image ``localhost/built`` from `folder` with this Containerfile."""
        (folder / "Containerfile").write_text(containerfile)
        cgroup = ("--cgroup-parent", f"/{self.host.cgroup}")
        fixed = (*self.runtime_options, *cgroup, *self.limits, "--network", "none")
        return self.call("bud", *fixed, *options, "-t", "localhost/built", str(folder))

    def read(self, image: str, *paths: str) -> list[str]:
        """The contents of files in an image; no container is run for it."""
        container = self.output("from", "--pull-never", image)
        mount = self.output("mount", container)
        contents = [self.host.path(f"{mount}{path}").read_text() for path in paths]
        self.output("rm", container)
        return contents


@pytest.fixture(scope="module")
def buildah(
    tested_runtime: Path, image: bytes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Buildah]:
    """buildah with a base image made of the test image."""
    need("buildah")
    folder = tmp_path_factory.mktemp("buildah")
    wrapper, log = write_wrapper(folder, tested_runtime)
    host = PrivateHost(f"pyrun-test-buildah-{os.getpid()}")
    try:
        engine = Buildah(host, wrapper, log)
        container = engine.output("from", "scratch")
        (folder / "image.tar").write_bytes(image)
        engine.output("add", container, str(folder / "image.tar"), "/")
        engine.output("config", "--env", "PATH=/bin", container)
        engine.output("commit", "--rm", container, Buildah.base)
        yield engine
    finally:
        host.close()


@pytest.fixture
def container(buildah: Buildah) -> Iterator[str]:
    """A working container of the base image."""
    name = buildah.output(
        "from", "--pull-never", *buildah.limits, "--cgroup-parent", f"/{buildah.host.cgroup}", Buildah.base
    )
    yield name
    buildah.output("rm", name)


def run(
    buildah: Buildah, container: str, *program: str, options: tuple[str, ...] = (), stdin: bytes = b""
) -> Done:
    """``buildah run``."""
    return buildah.call("run", *buildah.runtime_options, *options, container, "--", *program, stdin=stdin)


def test_run_steps(buildah: Buildah, tmp_path: Path) -> None:
    """RUN in both forms, as another user, with arguments and environment; the layers keep what they did."""
    (tmp_path / "script").write_text("#!/bin/sh\necho from a script > /result/script\n")
    (tmp_path / "script").chmod(0o755)
    buildah.runtime_log.write_text("")
    done = buildah.build(
        tmp_path,
        f"""
        FROM {Buildah.base}
        ARG COLOUR=red
        ENV GREETING="hello there"
        COPY script /bin/script
        RUN mkdir -m 1777 /result && script
        RUN ["sh", "-c", "echo $COLOUR $GREETING > /result/environment"]
        WORKDIR /home/user
        USER user:extra
        RUN echo $(id -un) $(id -gn) $(pwd) > /result/user
        USER 0
        RUN cat /proc/self/status | grep -E 'CapEff|Seccomp:' > /result/status
        """,
        "--build-arg",
        "COLOUR=blue",
    )
    assert done.returncode == 0, done.stderr
    files = [f"/result/{name}" for name in ("script", "environment", "user", "status")]
    script, environment, user, status = buildah.read("localhost/built", *files)
    assert script == "from a script\n"
    assert environment == "blue hello there\n"
    assert user == "user extra /home/user\n"
    assert "Seccomp:\t2" in status, "buildah's default profile wasn't loaded"
    calls = buildah.runtime_log.read_text().splitlines()
    for command in ("create", "start", "delete"):
        assert sum(line.split()[0] == command for line in calls) == 4, calls


@pytest.mark.parametrize("status", [1, 42])
def test_a_failing_step_stops_the_build(buildah: Buildah, tmp_path: Path, status: int) -> None:
    done = buildah.build(
        tmp_path, f"FROM {Buildah.base}\nRUN echo problem >&2; exit {status}\nRUN echo not reached\n"
    )
    assert done.returncode == status, done.stderr
    assert "problem" in done.stderr
    assert f"exit status {status}" in done.stderr
    assert "not reached" not in done.stdout


def test_a_missing_program_is_named(buildah: Buildah, tmp_path: Path) -> None:
    done = buildah.build(tmp_path, f'FROM {Buildah.base}\nRUN ["not-there"]\n')
    assert done.returncode != 0
    assert "not-there" in done.stderr
    assert "executable file" in done.stderr


@pytest.mark.parametrize(("script", "status"), [("true", 0), ("exit 42", 42), ("kill -9 $$", 137)])
def test_run_passes_the_exit_status_on(buildah: Buildah, container: str, script: str, status: int) -> None:
    # Process 1 doesn't get signals that it sends itself: a child of it does.
    done = run(buildah, container, "sh", "-c", f"sh -c '{script}'; exit $?")
    assert done.returncode == status, done.stderr


def test_run_passes_streams_on(buildah: Buildah, container: str) -> None:
    done = run(buildah, container, "sh", "-c", "tr a-z A-Z; echo problem >&2", stdin=b"hello\n")
    *warnings, problem = done.stderr.splitlines()
    assert (done.stdout, problem) == ("HELLO\n", "problem")
    # buildah asks for ambient capabilities without inheritable ones, which the kernel doesn't have: one line about it
    assert len(warnings) <= 1, warnings
    assert all("process.capabilities.ambient" in line for line in warnings), warnings


def test_builds_at_once(buildah: Buildah, tmp_path: Path) -> None:
    """Each has a cgroup of its own, if --cgroup-parent names one: buildah gives that as the container's own cgroup."""
    (tmp_path / "Containerfile").write_text(f"FROM {Buildah.base}\nRUN sleep 1; cat /proc/self/cgroup\n")
    storage = ("--root", "/var/lib/root", "--runroot", "/run/root", "--storage-driver", "vfs")
    builds = []
    for number in range(4):
        fixed = (
            *buildah.runtime_options,
            *buildah.limits,
            "--network",
            "none",
            "-t",
            f"localhost/at-once{number}",
        )
        parent = ("--cgroup-parent", f"/{buildah.host.cgroup}/build{number}")
        builds.append(
            subprocess.Popen(
                buildah.host.command("buildah", *storage, "bud", *fixed, *parent, str(tmp_path)),
                env=buildah.host.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    for number, build in enumerate(builds):
        output, _ = build.communicate(timeout=60)
        assert build.returncode == 0, output
        assert f"{buildah.host.cgroup}/build{number}\n" in output
    assert buildah.host.cgroups() == []


def test_run_keeps_changes_and_sees_volumes(buildah: Buildah, container: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("of the host\n")
    options = ("--volume", f"{tmp_path}:/volume:ro", "--hostname", "example")
    done = run(
        buildah, container, "sh", "-c", "cat /volume/file > /kept; hostname; touch /volume/x", options=options
    )
    assert done.stdout == "example\n"
    assert "Read-only file system" in done.stderr
    assert run(buildah, container, "cat", "/kept").stdout == "of the host\n"


def test_nothing_is_left(buildah: Buildah, container: str) -> None:
    """After a run there is no state of the runtime, no cgroup and no mount of the container."""
    before = buildah.host.run("cat", "/proc/self/mountinfo").stdout
    assert run(buildah, container, "true").returncode == 0
    assert buildah.host.cgroups() == []
    assert buildah.host.run("cat", "/proc/self/mountinfo").stdout == before
    states = buildah.host.path("/run/pyrun").glob("*")
    assert [path for path in states if path.name != ".seccomp"] == []  # that is the cache of filters


def test_contrib_configuration_is_understood(
    buildah: Buildah, container: str, tested_runtime: Path, tmp_path: Path
) -> None:
    """With contrib's containers.conf no --runtime is needed."""
    configuration = tmp_path / "containers.conf"
    wrapper, log = write_wrapper(tmp_path, tested_runtime)
    configuration.write_text(CONFIGURATION.read_text().replace(INSTALLED, str(wrapper)))
    buildah.host.environment["CONTAINERS_CONF"] = str(configuration)
    try:
        done = buildah.call("run", "--isolation", "oci", container, "--", "echo", "hello")
    finally:
        del buildah.host.environment["CONTAINERS_CONF"]
    assert done.stdout == "hello\n", done.stderr
    assert "create --bundle" in log.read_text()
