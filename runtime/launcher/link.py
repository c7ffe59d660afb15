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

from tools import Compiler, Failed, run, say


def _libraries() -> list[str]:
    """What libpython wants to be linked with, as its own Makefile said."""
    words = " ".join(str(sysconfig.get_config_var(name) or "") for name in ("MODLIBS", "LIBS", "SYSLIBS"))
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
    renamed += [f"--redefine-sym=pthread_{name}=snapshot_{name}" for name in ("key_create", "setspecific")]
    renamed += [f"--redefine-sym=system_{name}={name}" for name in ("malloc", "realloc", "free")]
    renamed += [f"--redefine-sym=system_{name}=pthread_{name}" for name in ("key_create", "setspecific")]
    for name in (".data", ".PyRuntime", ".bss"):
        renamed += [f"--set-section-flags={name}=alloc,contents,load,data"]
        renamed += [f"--rename-section={name}=pyrun_data,alloc,load,data,contents"]
    run(["objcopy", *renamed, str(joined)])
    run([*cc.command, "-static", "-no-pie", "-o", str(raw), str(joined), "-lffi", *_libraries(), "-lpthread"])
    done = subprocess.run([raw], env={"TZ": "UTC0"}, cwd="/", capture_output=True, check=False, timeout=60)
    if done.returncode:
        raise Failed(f"{raw}: {done.stderr.decode(errors='replace') or f'status {done.returncode}'}")
    image = bytearray(raw.read_bytes())
    start, size = section(image, "pyrun_data")
    if size != len(done.stdout):
        raise Failed(f"the snapshot has {len(done.stdout)} bytes, its section {size}")
    image[start : start + size] = done.stdout
    output.write_bytes(image)
    output.chmod(0o755)


def section(image: bytes | bytearray, name: str) -> tuple[int, int]:
    """Offset and size of a section in a 64-bit little-endian ELF file (elf(5))."""
    table, entry, count, names = struct.unpack_from("<40xQ10xHHH", image)
    headers = [struct.unpack_from("<I20xQQ", image, table + index * entry) for index in range(count)]
    for at, offset, size in headers:
        text = headers[names][1] + at
        if image[text : image.index(0, text)] == name.encode():
            return offset, size
    raise Failed(f"no section {name}")


def link_shared(cc: Compiler, objects: list[Path], output: Path) -> None:
    """Link with the shared libpython, where there is no archive of it."""
    if not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        raise Failed("this interpreter has no shared libpython")
    folder, name = sysconfig.get_config_var("LIBDIR"), f"python{sysconfig.get_config_var('LDVERSION')}"
    run(
        [*cc.command, "-no-pie", "-o", str(output), *map(str, objects), f"-L{folder}", f"-Wl,-rpath,{folder}"]
        + [f"-l{name}", "-lffi"]
    )


def link(cc: Compiler, objects: list[Path], plain: list[Path], output: Path, ways: list[str]) -> str:
    """Link in the first of the ways that gives a program that works; its name."""
    reasons = []
    for way in ways:
        say(f"linking {output.name} ({way})")
        new = output.with_name(f"{output.name}.new")
        try:
            {"snapshot": link_snapshot, "static": link_static, "shared": link_shared}[way](
                cc, objects if way == "snapshot" else plain, new
            )
            run(["strip", "--strip-debug", str(new)])
            run([str(new), "--version"])
        except Failed as error:
            say(f"not {way}: {str(error).strip().splitlines()[-1]}")
            reasons.append(f"{way}: {error}")
            continue
        os.replace(new, output)
        return way
    raise Failed("\n".join(reasons))
