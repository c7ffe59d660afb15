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
import tempfile
from pathlib import Path
from typing import NamedTuple

import layout
from layout import Snapshot
from tools import Compiler, Failed, run, say

SHT_PROGBITS, SHT_NOBITS = 1, 8
SHF_WRITE, SHF_TLS = 1, 0x400
BUSY = (
    "ceval unicodeobject dictobject longobject typeobject getargs abstract object call specialize modsupport listobject"
    " tupleobject errors posixmodule bytesobject bytes_methods descrobject bltinmodule pyhash methodobject funcobject"
    " gcmodule import sliceobject fileutils exceptions frame sysmodule structseq structmember floatobject boolobject"
    " cellobject pystate moduleobject weakrefobject frameobject setobject"
).split()
#: What all commands write to lies in one piece, and what some write to before it: heap.c.
PLACES = {
    ".bss.pyrun_heavy": "pyrun_heavy",
    ".data.busy": "pyrun_busy",
    ".bss.busy": "pyrun_busy",
    ".PyRuntime": "pyrun_state",
    ".bss.pyrun_hot": "pyrun_hot",
}
SECTIONS = """SECTIONS {
  pyrun_data : ALIGN(4096) {
    *(pyrun_data) . = ALIGN(4096); *(pyrun_heavy)
    pyrun_busy_start = .; *(pyrun_busy) pyrun_state_start = .; *(pyrun_state) pyrun_state_end = .; *(pyrun_hot)
    . = ALIGN(4096);
  }
} INSERT AFTER .data;
"""


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


def _busy(cc: Compiler, objects: list[Path]) -> Path:
    """Our objects, and the parts of the interpreter that every command uses, in one, so that they lie side by side: the
    kernel maps 64 KiB of a program at a time. What they write to is told from the rest."""
    folder, joined = cc.work / "busy", cc.work / "busy.o"
    members = run(["ar", "t", str(_archive())]).split()
    names = [f"{name}.o" for name in BUSY if f"{name}.o" in members]
    folder.mkdir(exist_ok=True)
    run(["ar", "x", "--output", str(folder), str(_archive()), *names])
    parts = [*objects, *(folder / name for name in names)]
    run([*cc.command, "-r", "-nostdlib", "-o", str(joined), *map(str, parts)])
    run(["objcopy", "--rename-section=.data=.data.busy", "--rename-section=.bss=.bss.busy", str(joined)])
    return joined


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
    busy = _busy(cc, objects)
    run([*cc.command, "-r", "-nostdlib", "-o", str(joined), str(busy), str(_archive())])
    renamed = [f"--redefine-sym={name}=snapshot_{name}" for name in ("malloc", "calloc", "realloc", "free")]
    renamed += [
        f"--redefine-sym=pthread_{name}=snapshot_{name}" for name in ("key_create", "setspecific", "self")
    ]
    renamed += [f"--redefine-sym=system_{name}={name}" for name in ("malloc", "realloc", "free")]
    renamed += [f"--redefine-sym=system_{name}=pthread_{name}" for name in ("key_create", "setspecific")]
    # the one constructor, of an allocator that we don't use (mimalloc, Python 3.13), must not run on its own results
    renamed += ["--remove-section=.init_array", "--remove-section=.fini_array"]
    for each in sections(joined.read_bytes()):
        if each.writable and not each.name.startswith((".data.rel.ro", ".bss.pyrun_fresh")):
            name = PLACES.get(each.name, "pyrun_data")
            renamed += [f"--set-section-flags={each.name}=alloc,contents,load,data"]
            renamed += [f"--rename-section={each.name}={name},alloc,load,data,contents"]
    run(["objcopy", *renamed, str(joined)])
    script = cc.work / "sections.ld"
    script.write_text(SECTIONS)
    flags = ["-static", "-no-pie", f"-Wl,-T,{script}"]
    run([*cc.command, *flags, "-o", str(raw), str(joined), "-lffi", *_libraries(), "-lpthread"])
    image = bytearray(raw.read_bytes())
    data = next(each for each in sections(image) if each.name == "pyrun_data")
    snapshot = _take(raw, data)
    image[data.offset : data.offset + data.size] = snapshot.data
    output.write_bytes(image)
    output.chmod(0o755)


def _take(raw: Path, data: Section) -> Snapshot:
    """The snapshot of a program: ordered by what commands write to, or, where that can't be found out, as it comes."""
    script = raw.with_name("mark.py")
    try:
        script.write_text(layout.script())
        first = _run(raw, data, b"", str(script))
        ordered = _run(raw, data, layout.rows_by_number(first))
        if not layout.are_alike(first, ordered):
            raise Failed("two runs didn't allocate the same")
        return ordered
    except (Failed, OSError, struct.error) as error:
        say(f"not in the best order, which makes commands slower: {why(str(error))}")
        return _run(raw, data, b"")


def _run(raw: Path, data: Section, rows: bytes, *arguments: str) -> Snapshot:
    """One run of the program that isn't a snapshot yet."""
    with tempfile.TemporaryFile() as file:
        file.write(rows)
        file.seek(0)
        done = subprocess.run(
            [raw, *arguments],
            stdin=file,
            env={"TZ": "UTC0"},
            cwd="/",
            capture_output=True,
            check=False,
            timeout=60,
        )
    if done.returncode:
        raise Failed(f"{raw}: {done.stderr.decode(errors='replace') or f'status {done.returncode}'}")
    try:
        return layout.parse(done.stdout, data.size, data.address)
    except ValueError as error:
        raise Failed(f"{raw}: {error}") from None


class Section(NamedTuple):
    """A section of an ELF file; writable means memory that a program changes, thread-local memory excepted."""

    name: str
    writable: bool
    address: int
    offset: int
    size: int


def sections(image: bytes | bytearray) -> list[Section]:
    """The sections of a 64-bit little-endian ELF file (elf(5))."""
    table, entry, count, names = struct.unpack_from("<40xQ10xHHH", image)
    headers = [struct.unpack_from("<IIQQQQ", image, table + index * entry) for index in range(count)]
    found = []
    for at, kind, flags, address, offset, size in headers:
        start = headers[names][4] + at
        name = bytes(image[start : image.index(0, start)]).decode()
        writable = kind in (SHT_PROGBITS, SHT_NOBITS) and flags & (SHF_WRITE | SHF_TLS) == SHF_WRITE
        found.append(Section(name, writable, address, offset, size))
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
