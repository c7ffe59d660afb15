"""docker with a bridge: published ports, user networks, and containers that outlive the daemon."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .docker_network import NetworkedDocker, networked_docker
from .more import wait_for

PAGE = "mkdir -p /www && echo served by $(hostname) > /www/index.html && exec httpd -f -p 80 -h /www"


@pytest.fixture(scope="module")
def engine(
    tested_runtime: Path, image: bytes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NetworkedDocker]:
    yield from networked_docker(tested_runtime, image, tmp_path_factory.mktemp("docker"), "docker-net")


def fetch(engine: NetworkedDocker, server: str) -> str:
    """What a client in the daemon's network gets from address and port `server`."""
    return engine.network("wget", "-q", "-T", "3", "-t", "1", "-O", "-", f"http://{server}/").stdout


def test_a_published_port(engine: NetworkedDocker) -> None:
    options = ("--publish", "127.0.0.1:8081:80", "--hostname", "web")
    name = engine.start(options, "sh", "-c", PAGE)
    wait_for(lambda: fetch(engine, "127.0.0.1:8081") == "served by web\n", "the page by the published port")
    engine.remove(name)
    assert fetch(engine, "127.0.0.1:8081") == ""


def test_a_network_with_names(engine: NetworkedDocker) -> None:
    """A container finds another by its name, and the host's side of the bridge reaches it."""
    engine.output("network", "create", "inner")
    options = ("--network", "inner", "--network-alias", "server", "--hostname", "web")
    name = engine.start(options, "sh", "-c", PAGE)
    address = engine.inspect(name, "{{.NetworkSettings.Networks.inner.IPAddress}}")
    # Of a static busybox's commands only nslookup can ask a DNS server.
    assert address in engine.run_output(("--network", "inner"), "nslookup", "server", "127.0.0.11")
    wait_for(lambda: fetch(engine, f"{address}:80") == "served by web\n", "the page over the bridge")
    engine.remove(name)
    engine.output("network", "rm", "inner")


def test_live_restore(engine: NetworkedDocker) -> None:
    """The daemon is killed and comes back; the container never stops, and can be used as before."""
    name = engine.start((), "sh", "-c", "n=0; while :; do n=$((n+1)); echo $n; sleep 0.05; done")
    pid = engine.inspect(name, "{{.State.Pid}}")
    engine.kill_daemon()
    alive = engine.host.run("kill", "-0", pid)
    assert alive.returncode == 0, "the container died with the daemon"
    engine.start_daemon()
    assert engine.inspect(name, "{{.State.Pid}} {{.State.Running}} {{.RestartCount}}") == f"{pid} true 0"
    count = len(engine.output("logs", name).split())
    wait_for(lambda: len(engine.output("logs", name).split()) > count, "the logs go on")
    assert engine.output("exec", name, "echo", "hello") == "hello"
    engine.output("pause", name)
    engine.output("unpause", name)
    engine.output("kill", name)
    assert engine.output("wait", name) == "137"
    engine.remove(name)


def test_a_container_that_ends_without_the_daemon(engine: NetworkedDocker) -> None:
    """Its exit status is learnt when the daemon is back, and nothing of it stays."""
    name = engine.start((), "sh", "-c", "trap 'exit 7' USR1; echo up; while :; do sleep 0.05; done")
    engine.wait_for_log(name, "up")
    identity = engine.inspect(name, "{{.Id}}")
    pid = engine.inspect(name, "{{.State.Pid}}")
    engine.kill_daemon()
    engine.host.run("kill", "-USR1", pid)
    wait_for(lambda: engine.host.run("kill", "-0", pid).returncode != 0, "the container ends")
    engine.start_daemon()
    wait_for(lambda: engine.inspect(name, "{{.State.Status}}") == "exited", "the daemon learns it")
    assert engine.inspect(name, "{{.State.ExitCode}}") == "7"
    engine.remove(name)
    assert identity not in str(engine.host.cgroups())
