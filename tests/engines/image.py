"""The image for all engine tests: a static busybox with links for its commands, made on the spot."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1001::/home/user:/bin/sh\n",
    "etc/group": "root:x:0:\nuser:x:1001:\nextra:x:2000:user\n",
    "etc/not-executable": "text\n",
}
NO_PROGRAM = "/bin/no-program"  # may be executed, and only execve knows that it can't be
FOLDERS = ("bin", "dev", "etc", "home/user", "proc", "root", "run", "sys", "tmp")


def busybox() -> Path:
    """The path of a statically linked busybox; skips the calling test where there is none."""
    found = shutil.which("busybox")
    if found is None:
        pytest.skip("needs busybox (Debian: busybox-static): not installed")
    path = Path(found).resolve()
    # A program header of type PT_INTERP names the loader; a static program has none.
    if b"/ld-" in path.read_bytes()[:4096]:
        pytest.skip(f"needs a static busybox (Debian: busybox-static): {path} is dynamically linked")
    return path


def image_tar() -> bytes:
    """A root file system as a tar archive, ready for ``podman import -`` and ``docker import -``."""
    program = busybox()
    listing = subprocess.run([str(program), "--list"], capture_output=True, text=True, check=True)
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w") as archive:
        for folder in FOLDERS:
            member = tarfile.TarInfo(folder)
            member.type, member.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            archive.addfile(member)
        add_file(archive, "bin/busybox", program.read_bytes(), 0o755)
        for applet in listing.stdout.split():
            if applet != "busybox":
                member = tarfile.TarInfo(f"bin/{applet}")
                member.type, member.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(member)
        add_file(archive, NO_PROGRAM[1:], b"no program\n", 0o755)
        for name, text in FILES.items():
            add_file(archive, name, text.encode(), 0o644)
    return memory.getvalue()


def docker_archive(layer: bytes, name: str, entrypoint: Sequence[str] = ()) -> bytes:
    """An image of one layer in the form of ``docker save``, which ``ctr image import`` reads."""
    config = json.dumps(
        {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(
                platform.machine(), platform.machine()
            ),
            "os": "linux",
            "config": {"Env": ["PATH=/bin"], "Entrypoint": list(entrypoint)},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
    ).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w") as archive:
        for file, data in (("config.json", config), ("layer.tar", layer), ("manifest.json", manifest)):
            add_file(archive, file, data, 0o644)
    return memory.getvalue()


def add_file(archive: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    """Add a regular file of root's to the archive."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), mode
    archive.addfile(member, io.BytesIO(data))
