"""PEP 517 backend: `pip install .` builds the binary and packs it into a wheel, with what the full interpreter needs.

The wheel is for one interpreter and machine. It holds bin/pyrun (the binary), our packages, the kernel module and
stage 2; click and the like are its dependencies. Where the binary can't be linked (no libpython), bin/pyrun is a
script that starts `python -I -S` on the same sources: slower, but the same.
"""

from __future__ import annotations

import base64
import hashlib
import os
import sys
import sysconfig
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import build
from tools import Failed, say

TOP = build.TOP
SCRIPT = """#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
unset PYTHONPATH PYTHONHOME LD_PRELOAD LD_LIBRARY_PATH
exec "$here/python{version}" -I -S -c 'import sys; sys.path[:0] = sys.argv.pop(1).split(":")
from pyrun.main import main; sys.exit(main(sys.argv[1:]))' \\
  "$(readlink -f "$here/../lib/python{version}/site-packages")" "$@"
"""
IN_SDIST = ("pyproject.toml", "Makefile", "README.md", "requirements-dev.txt", "runtime", "spec")


def _project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    return table


def _metadata() -> str:
    project = _project()
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {project['name']}",
        f"Version: {build.version()}",
        f"Summary: {project['description']}",
        f"License: {project['license']}",
        f"Requires-Python: {project['requires-python']}",
        *(f"Requires-Dist: {requirement}" for requirement in project["dependencies"]),
        "Description-Content-Type: text/markdown",
        "",
    ]
    readme = TOP / str(project["readme"])
    return "\n".join(lines) + "\n" + (readme.read_text() if readme.is_file() else "")


def _tag() -> str:
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    return f"{python}-{python}-{platform}"


def _contents(work: Path) -> Iterator[tuple[str, bytes, int]]:
    """Everything in the wheel but its record: (name, content, mode)."""
    binary = work / "pyrun"
    try:
        build.build(binary, work / "obj")
        program = binary.read_bytes()
    except Failed as error:
        say(f"the binary can't be linked here, a script takes its place: {error}")
        program = SCRIPT.format(version=f"{sys.version_info.major}.{sys.version_info.minor}").encode()
    build.build_library(None, work / "modules", work / "obj")
    yield f"pyrun-{build.version()}.data/scripts/pyrun", program, 0o755
    for path in sorted((work / "modules").iterdir()):
        yield path.name, path.read_bytes(), 0o755
    for root in build.ROOTS:
        for package in sorted(path.parent for path in root.glob("*/__init__.py")):
            for path in sorted(package.rglob("*")):
                if path.is_file() and path.suffix not in (".c", ".h", ".pyc"):
                    yield str(path.relative_to(root)), path.read_bytes(), 0o644
    info = f"pyrun-{build.version()}.dist-info"
    yield f"{info}/METADATA", _metadata().encode(), 0o644
    wheel = f"Wheel-Version: 1.0\nGenerator: pyrun\nRoot-Is-Purelib: false\nTag: {_tag()}\n"
    yield f"{info}/WHEEL", wheel.encode(), 0o644


def build_wheel(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """PEP 517: build the wheel, return its name."""
    name = f"pyrun-{build.version()}-{_tag()}.whl"
    info = f"pyrun-{build.version()}.dist-info"
    record = []
    with (
        tempfile.TemporaryDirectory(prefix="pyrun-build-") as work,
        zipfile.ZipFile(Path(wheel_directory, name), "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for member, content, mode in _contents(Path(work)):
            entry = zipfile.ZipInfo(member, (2020, 1, 1, 0, 0, 0))
            entry.external_attr = (0o100000 | mode) << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record.append(f"{member},sha256={digest},{len(content)}\n")
        archive.writestr(f"{info}/RECORD", "".join(record) + f"{info}/RECORD,,\n")
    return name


def build_sdist(sdist_directory: str, config_settings: dict[str, Any] | None = None) -> str:
    """PEP 517: pack the sources that the wheel is built from, return the archive's name."""
    base = f"pyrun-{build.version()}"

    def keep(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        return None if os.path.basename(entry.name) == "__pycache__" else entry

    with tempfile.NamedTemporaryFile("w", suffix="PKG-INFO") as information:
        information.write(_metadata())
        information.flush()
        with tarfile.open(Path(sdist_directory, f"{base}.tar.gz"), "w:gz") as archive:
            archive.add(information.name, f"{base}/PKG-INFO")
            for name in IN_SDIST:
                if (TOP / name).exists():
                    archive.add(TOP / name, f"{base}/{name}", filter=keep)
    return f"{base}.tar.gz"
