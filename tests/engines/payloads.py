"""Real servers under podman and docker: redis-server and nginx of this machine, with a real client's traffic.

Their root file system is what ldd names.  They listen on the loopback of the host's network only, on a free port.
"""

from __future__ import annotations

import io
import re
import shutil
import socket
import subprocess
import tarfile
from pathlib import Path

from .engine import Engine
from .image import add_file
from .more import wait_for
from .private_host import Done, need

NGINX = """
daemon off; worker_processes 2; pid /tmp/nginx.pid; error_log /dev/stderr notice; user user;
events {{ worker_connections 64; }}
http {{
    access_log /dev/stdout;
    client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy; fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi; scgi_temp_path /tmp/scgi;
    server {{ listen 127.0.0.1:{port}; root /www; }}
}}
"""
PAGE_SIZE = 200_000


def with_program(image: bytes, name: str) -> bytes:
    """The test image with one more program of this machine, and the libraries that ldd names for it."""
    program = shutil.which(name)
    assert program is not None
    listing = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    memory = io.BytesIO(image)
    with tarfile.open(fileobj=memory, mode="a") as archive:
        files = [Path(path) for path in (program, *re.findall(r"(/\S+) \(0x", listing))]
        for folder in sorted({parent for path in files for parent in path.parents if parent != Path("/")}):
            member = tarfile.TarInfo(str(folder).lstrip("/"))  # docker makes those that lack, for root only
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(member)
        for path in files:
            add_file(archive, str(path).lstrip("/"), path.read_bytes(), 0o755)
    return memory.getvalue()


def free_port() -> int:
    """A TCP port on which nothing listens on loopback just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Payloads:
    """Servers on the host's network; the tests for both engines."""

    def serve(self, engine: Engine, image: bytes, server: str, options: tuple[str, ...], *argv: str) -> str:
        """Start `server` from an image made of it; returns the container's name."""
        if server not in engine.output("images", "--format", "{{.Repository}}"):
            engine.output("import", "-", server, stdin=with_program(image, server))
        run_options = [option for option in engine.run_options if option != "--network=none"]
        name = f"{server}-served"
        arguments = ("--name", name, *run_options, "--network", "host", *options, server, server, *argv)
        engine.output("run", "-d", *arguments)
        return name

    def test_redis(self, engine: Engine, image: bytes, tmp_path: Path) -> None:
        """Values are kept, a benchmark's requests are all answered, and data survives a restart."""
        need("redis-server", "redis-cli", "redis-benchmark", "ldd")
        port = str(free_port())

        def ask(*command: str) -> str:
            return engine.host.run("redis-cli", "-h", "127.0.0.1", "-p", port, *command).stdout.strip()

        options = (
            "--user",
            "1000:1001",
            "--memory",
            "128m",
            "--tmpfs",
            "/tmp",
            "--volume",
            f"{tmp_path}:/data",
        )
        tmp_path.chmod(0o777)
        argv = ("--bind", "127.0.0.1", "--port", port, "--dir", "/data", "--save", "", "--appendonly", "yes")
        name = self.serve(engine, image, "redis-server", options, *argv)
        wait_for(lambda: ask("ping") == "PONG", "redis answers")
        assert ask("set", "greeting", "hello") == "OK"
        done: Done = engine.host.run(
            *(
                "redis-benchmark",
                "-h",
                "127.0.0.1",
                "-p",
                port,
                "-q",
                "-n",
                "5000",
                "-c",
                "20",
                "-t",
                "set,get,incr",
            )
        )
        assert done.returncode == 0, done.stderr
        rates = re.findall(r"(SET|GET|INCR): ([\d.]+) requests per second", done.stdout)
        assert {rate[0] for rate in rates} == {"SET", "GET", "INCR"}, done.stdout
        assert ask("get", "counter:__rand_int__") == "5000"
        engine.output("stop", name)
        assert engine.inspect(name, "{{.State.ExitCode}}") == "0", "redis didn't end by itself on SIGTERM"
        engine.output("start", name)
        wait_for(lambda: ask("get", "greeting") == "hello", "the value is there after a restart")
        engine.remove(name)

    def test_nginx(self, engine: Engine, image: bytes, tmp_path: Path) -> None:
        """Pages are served by workers of another user, the configuration is reloaded, the end is graceful."""
        need("nginx", "curl", "ldd")
        port = free_port()
        (tmp_path / "page").write_bytes(b"0123456789" * (PAGE_SIZE // 10))
        (tmp_path / "nginx.conf").write_text(NGINX.format(port=port))
        tmp_path.chmod(0o755)
        options = (
            *("--volume", f"{tmp_path}:/www:ro", "--read-only", "--tmpfs", "/tmp", "--memory", "64m"),
            *("--tmpfs", "/var/log/nginx", "--tmpfs", "/var/lib/nginx", "--stop-signal", "QUIT"),
        )
        name = self.serve(engine, image, "nginx", options, "-c", "/www/nginx.conf")

        def fetch(count: int) -> list[str]:
            """Status and size of each of `count` requests over kept-alive connections, eight at a time."""
            url = f"http://127.0.0.1:{port}/page?[1-{count}]"
            form = "%{http_code} %{size_download}\\n"
            argv = ("curl", "--silent", "--max-time", "20", "--parallel", "--parallel-max", "8")
            output = engine.host.run(*argv, "--output", "/dev/null", "--write-out", form, url).stdout
            return output.splitlines()

        good = f"200 {PAGE_SIZE}"
        wait_for(lambda: fetch(1) == [good], "nginx answers")
        assert fetch(300) == [good] * 300
        (tmp_path / "new").write_text("new\n")
        engine.output("kill", "--signal", "HUP", name)
        wait_for(lambda: "reconfiguring" in engine.call("logs", name).stderr, "nginx reloads")
        assert fetch(50) == [good] * 50
        engine.output("stop", name)
        assert engine.inspect(name, "{{.State.ExitCode}}") == "0"
        assert engine.output("logs", name).count('" 200 ') >= 351
        engine.remove(name)
