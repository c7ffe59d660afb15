"""The ways to link the binary, best first; the first that gives a program that works is taken.

- snapshot: static, and with the interpreter already started (snapshot.c);
- static: with libpython.a and the C library's archives;
- shared: with libpython3.X.so, where there is no archive.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

from tools import Compiler, Failed, run, say

SHT_PROGBITS, SHT_NOBITS = 1, 8
SHF_WRITE, SHF_TLS = 1, 0x400


def _libraries() -> list[str]:
    """What the interpreter itself wants to be linked with, as its own Makefile said."""
    words = " ".join(str(sysconfig.get_config_var(name) or "") for name in ("LIBS", "SYSLIBS"))
    return list(dict.fromkeys(word for word in words.split() if word.startswith("-l")))


def _archive() -> Path:
    """libpython.a of this interpreter, or Failed."""
    archive = Path(
        sysconfig.get_config_var("LIBPL") or "", f"libpython{sysconfig.get_config_var('LDVERSION')}.a"
    )
    if not archive.is_file():
        raise Failed(f"{archive} is missing (Debian: python3-dev)")
    return archive


def link_static(cc: Compiler, objects: list[Path], output: Path) -> None:
    """Link everything, the C library too: no loader, nothing that the environment could change."""
    libraries = ["-lffi", *_libraries(), "-lpthread"]
    run(
        [
            *cc.command,
            "-static",
            "-no-pie",
            "-o",
            str(output),
            *map(str, objects),
            str(_archive()),
            *libraries,
        ]
    )


def link_snapshot(cc: Compiler, objects: list[Path], output: Path) -> None:
    """Link statically, run the result once and make what it then has in memory its data: see snapshot.c."""
    if sys.version_info >= (3, 14):
        raise Failed("from Python 3.14 on, the interpreter remembers where its stack is")
    joined, raw = cc.work / "joined.o", cc.work / "pyrun.raw"
    run([*cc.command, "-r", "-nostdlib", "-o", str(joined), *map(str, objects), str(_archive())])
    renamed = [f"--redefine-sym={name}=snapshot_{name}" for name in ("malloc", "calloc", "realloc", "free")]
    renamed += [
        f"--redefine-sym=pthread_{name}=snapshot_{name}" for name in ("key_create", "setspecific", "self")
    ]
    renamed += [f"--redefine-sym=system_{name}={name}" for name in ("malloc", "realloc", "free")]
    renamed += [f"--redefine-sym=system_{name}=pthread_{name}" for name in ("key_create", "setspecific")]
    # the one constructor, of an allocator that we don't use (mimalloc, Python 3.13), must not run on its own results
    renamed += ["--remove-section=.init_array", "--remove-section=.fini_array"]
    for each in sections(joined.read_bytes()):
        if each.writable and not each.name.startswith(".data.rel.ro"):
            renamed += [f"--set-section-flags={each.name}=alloc,contents,load,data"]
            renamed += [f"--rename-section={each.name}=pyrun_data,alloc,load,data,contents"]
    run(["objcopy", *renamed, str(joined)])
    run([*cc.command, "-static", "-no-pie", "-o", str(raw), str(joined), "-lffi", *_libraries(), "-lpthread"])
    done = subprocess.run([raw], env={"TZ": "UTC0"}, cwd="/", capture_output=True, check=False, timeout=60)
    if done.returncode:
        raise Failed(f"{raw}: {done.stderr.decode(errors='replace') or f'status {done.returncode}'}")
    image = bytearray(raw.read_bytes())
    data = next(each for each in sections(image) if each.name == "pyrun_data")
    if data.size != len(done.stdout):
        raise Failed(f"the snapshot has {len(done.stdout)} bytes, its section {data.size}")
    image[data.offset : data.offset + data.size] = done.stdout
    output.write_bytes(image)
    output.chmod(0o755)


class Section(NamedTuple):
    """A section of an ELF file; writable means memory that a program changes, thread-local memory excepted."""

    name: str
    writable: bool
    offset: int
    size: int


def sections(image: bytes | bytearray) -> list[Section]:
    """The sections of a 64-bit little-endian ELF file (elf(5))."""
    table, entry, count, names = struct.unpack_from("<40xQ10xHHH", image)
    headers = [struct.unpack_from("<IIQ8xQQ", image, table + index * entry) for index in range(count)]
    found = []
    for at, kind, flags, offset, size in headers:
        start = headers[names][3] + at
        name = bytes(image[start : image.index(0, start)]).decode()
        writable = kind in (SHT_PROGBITS, SHT_NOBITS) and flags & (SHF_WRITE | SHF_TLS) == SHF_WRITE
        found.append(Section(name, writable, offset, size))
    return found


def link_shared(cc: Compiler, objects: list[Path], output: Path) -> None:
    """Link with the shared libpython, where there is no archive of it."""
    if not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        raise Failed("this interpreter has no shared libpython")
    folder = sysconfig.get_config_var("LIBDIR")
    library = f"-lpython{sysconfig.get_config_var('LDVERSION')}"
    where = [f"-L{folder}", f"-Wl,-rpath,{folder}"]
    run([*cc.command, "-no-pie", "-o", str(output), *map(str, objects), *where, library, "-lffi"])


def link(cc: Compiler, objects: dict[str, list[Path]], output: Path) -> str:
    """Link in the first of the ways, each with its objects, that gives a program that works; its name."""
    steps = {"snapshot": link_snapshot, "static": link_static, "shared": link_shared}
    reasons = []
    for way, files in objects.items():
        say(f"linking {output.name} ({way})")
        new = output.with_name(f"{output.name}.new")
        try:
            steps[way](cc, files, new)
            run(["strip", "--strip-debug", str(new)])
            if not (said := run([str(new), "--version"])).startswith("pyrun version "):
                raise Failed(f"{new} --version says {said!r}")
        except Failed as error:
            say(f"not {way}: {why(str(error))}")
            reasons.append(f"{way}: {error}")
            continue
        os.replace(new, output)
        return way
    raise Failed("\n".join(reasons))


def why(text: str) -> str:
    """The line of a failed command's output that tells most."""
    lines = text.strip().splitlines()
    telling = [line for line in lines if "undefined reference" in line or "cannot find" in line]
    return (telling or lines[-1:])[0]
