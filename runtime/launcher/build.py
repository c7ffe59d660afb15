"""Build the binary: `python build.py --output build/bin/pyrun`, for the interpreter that runs this file.

Used by `make` and by the wheel (backend.py). The steps:

1. the C sources of two extension modules that are linked in, cffi's backend and simplejson's scanner, come from their
   source distributions on PyPI, pinned by content (sources.txt); our own kernel module's C source is made by cffi from
   kernel.h;
2. the hot modules are compiled and frozen (freeze.py), stage 2 is compiled;
3. all is linked with libpython: statically where there is a libpython.a, else with the shared library;
4. the static program is run once, and starts from then on where that run ended (snapshot.c).

Steps whose inputs didn't change since the last time are skipped.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import freeze
import library
from link import link
from tools import Compiler, Failed, run, say

LAUNCHER = Path(__file__).resolve().parent
TOP = LAUNCHER.parent.parent
ROOTS = [TOP / "runtime", TOP / "spec"]
#: Modules that the scanner imports, for which a few lines stand in (standin/).
STANDINS = LAUNCHER / "standin"
OURS = "-Wall -Wextra -Werror".split()
THEIRS = "-w -DUSE__THREAD -DHAVE_SYNC_SYNCHRONIZE".split()


def _write(path: Path, content: str | bytes) -> None:
    """Write a generated file, but leave it (and its time) alone when nothing changed."""
    data = content.encode() if isinstance(content, str) else content
    if not path.is_file() or path.read_bytes() != data:
        path.write_bytes(data)


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"_build_{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


#: Where freezing starts: our program, the commands that it finds by its table, and what the scanner imports.
FROZEN_FROM = [
    "pyrun.main",
    *_load(TOP / "runtime/pyrun/commandline/table.py").hot_modules(),
    *("simplejson.errors", "simplejson.raw_json", "operator"),
]


def version() -> str:
    """The project's version."""
    return (TOP / "runtime/pyrun/VERSION").read_text().strip()


def commit() -> str:
    """What git calls the source tree, "" outside of a checkout."""
    try:
        return run(["git", "-C", str(TOP), "describe", "--always", "--dirty", "--abbrev=12"]).strip()
    except Failed:
        return ""


def interpreter() -> str:
    """The full interpreter that belongs to this build: never a virtual environment's, never a link to the newest."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def facts() -> dict[str, str]:
    """What the program tells about itself."""
    return {"VERSION": version(), "COMMIT": commit(), "PYTHON": interpreter()}


def sources(store: Path, pins: Path) -> dict[str, Path]:
    """The folders of the source distributions that a file pins by their content, by name; pip downloads the missing.

    Raises Failed if an archive in the store has another content than the one that is pinned.
    """
    pinned = re.findall(r"^((\S+)==\S+) --hash=sha256:(\w+)$", pins.read_text(), re.MULTILINE)
    folders = {name: store / requirement.replace("==", "-") for requirement, name, _ in pinned}
    archives = {name: folder.with_name(f"{folder.name}.tar.gz") for name, folder in folders.items()}
    if not all(archive.is_file() for archive in archives.values()):
        say(f"fetching the sources of {' and '.join(folders)}")
        command = [sys.executable, "-m", "pip", "--quiet", "download", "--no-deps", "--no-binary", ":all:"]
        run([*command, "--require-hashes", "--dest", str(store), "--requirement", str(pins)])
    for _, name, digest in pinned:
        if hashlib.sha256(archives[name].read_bytes()).hexdigest() != digest:
            raise Failed(f"{archives[name]} has another content than {pins} pins: remove it, and try again")
        if not folders[name].is_dir():
            run(["tar", "-C", str(store), "-xzf", str(archives[name])])
    return folders


def _freeze(work: Path) -> None:
    """Write data.S with the frozen modules and stage 2, and build_facts.h with their names and the build's facts."""
    kernel = _load(TOP / "runtime/pyrun/kernel/build.py")
    tables = {
        "FROZEN_MODULES": freeze.closure(FROZEN_FROM, [*ROOTS, STANDINS]),
        "BOOTSTRAP_MODULES": freeze.interpreters_own(),
    }
    lines, code = [f'#define {name} "{value}"' for name, value in facts().items()], b""
    for table, modules in tables.items():
        lines.append(f"#define {table} \\")
        for module in modules:
            size, is_package = len(module.code), int(module.is_package)
            lines.append(f'FROZEN("{module.name}", {len(code)}, {size}, {is_package}) \\')
            code += module.code
        lines.append("")
    _write(work / "build_facts.h", "\n".join([*lines, ""]))
    _write(work / "frozen.bin", code)
    kernel.compile_stage2(work / "stage2", os.environ.get("CC") or "gcc")
    with contextlib.redirect_stdout(None):  # cffi tells what it does
        kernel.emit(work / "_pyrun_kernel.c")
    labels = [("frozen_code", "frozen_end", "frozen.bin"), ("stage2_start", "stage2_end", "stage2")]
    text = [".section .rodata", '.section .note.GNU-stack,"",%progbits', ".section .rodata"]
    for start, end, file in labels:
        text += [f".global {start}, {end}", ".balign 64", f"{start}:", f'.incbin "{work / file}"', f"{end}:"]
    _write(work / "data.S", "\n".join([*text, ""]))


def _headers() -> list[str]:
    return [f"-I{sysconfig.get_path(name)}" for name in ("include", "platinclude")]


def build(output: Path, work: Path, trace: bool = False) -> str:
    """Build the binary into `output` with intermediate files under `work`; returns how it was linked."""
    store = work.parent / "sources"
    work.mkdir(parents=True, exist_ok=True)
    store.mkdir(exist_ok=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    folders = sources(store, LAUNCHER / "sources.txt")
    _freeze(work)
    cc = Compiler(work, ["-O2", "-fno-pie", *_headers(), f"-I{work}"])
    kernel = TOP / "runtime/pyrun/kernel"
    common = [
        cc.compile(folders["cffi"] / "src/c/_cffi_backend.c", THEIRS, []),
        cc.compile(folders["simplejson"] / "simplejson/_speedups.c", THEIRS, []),
        cc.compile(
            work / "_pyrun_kernel.c",
            ["-w"],
            [kernel / "kernel.c", *kernel.glob("*.h")],
        ),
        cc.compile(work / "data.S", [], [work / "frozen.bin", work / "stage2"]),
    ]
    headers = [work / "build_facts.h", LAUNCHER / "snapshot.h"]
    main = cc.compile(LAUNCHER / "pyrun.c", [*OURS, *["-DPYRUN_TRACE_IMPORTS"] * trace], headers)
    static = [
        cc.compile(LAUNCHER / "builtin.c", OURS, [work / "build_facts.h"]),
        cc.compile(LAUNCHER / "start.c", OURS, []),
    ]
    snapshot = [
        cc.compile(LAUNCHER / "pyrun.c", [*OURS, "-DPYRUN_SNAPSHOT"], headers, "pyrun-snapshot"),
        cc.compile(LAUNCHER / "snapshot.c", OURS, headers),
        cc.compile(LAUNCHER / "heap.c", OURS, headers),
        cc.compile(LAUNCHER / "rows.c", OURS, headers),
    ]
    objects = {
        "snapshot": [*common, *static, *snapshot],
        "static": [*common, *static, main],
        "shared": [*common, main],
    }
    if trace:
        del objects["snapshot"]
    return link(cc, objects, output)


def build_library(folder: Path | None, dev: Path | None, work: Path) -> None:
    """Fill the full interpreter's `folder`, and `dev` with what the sources alone lack; after build()."""
    name = "_pyrun_kernel" + str(sysconfig.get_config_var("EXT_SUFFIX"))
    shared = work / "shared"
    shared.mkdir(exist_ok=True)
    kernel = TOP / "runtime/pyrun/kernel"
    cc = Compiler(shared, ["-O2", "-fPIC", *_headers()])
    module = cc.compile(work / "_pyrun_kernel.c", ["-w"], [kernel / "kernel.c", *kernel.glob("*.h")])
    run([*cc.command, "-shared", "-o", str(shared / name), str(module)])
    if folder:
        library.write_dependencies(folder, LAUNCHER / "requirements.txt")
        library.write_sources(folder, ROOTS)
    for each in filter(None, (folder, dev)):
        library.write_modules(each, shared / name, {**facts(), "STAGE2": (work / "stage2").read_bytes()})
    if folder:
        library.compile_all(folder)


def analyze(work: Path) -> None:
    """Hold our C to the compiler's strictest: warnings are errors, and gcc's static analyzer finds nothing."""
    _freeze(work)
    for path in sorted([*TOP.glob("runtime/pyrun/kernel/*.c"), *LAUNCHER.glob("*.c")]):
        say(f"analyzing {path.relative_to(TOP)}")
        warnings = [*OURS, "-Wshadow", "-Wstrict-prototypes", "-fanalyzer"]
        includes = [f"-isystem{flag[2:]}" for flag in _headers()] + [f"-I{work}"]
        run(["gcc", "-O2", *warnings, *includes, "-include", "stddef.h", "-c", "-o", "/dev/null", str(path)])


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Build the pyrun binary for the interpreter that runs this script."
    )
    parser.add_argument("--output", type=Path, default=TOP / "build/bin/pyrun")
    parser.add_argument("--work", type=Path, help="folder for intermediate files")
    parser.add_argument(
        "--library", type=Path, help="also make the folder that the full interpreter runs from"
    )
    parser.add_argument(
        "--dev", type=Path, help="also make a folder with what the sources lack to run unfrozen"
    )
    parser.add_argument(
        "--trace-imports", action="store_true", help="a binary for tests: module names to descriptor 9"
    )
    parser.add_argument("--analyze", action="store_true", help="check the C sources instead of building")
    options = parser.parse_args()
    os.umask(0o022)  # what is built is for everyone to read and run, whoever builds it
    tag = str(sysconfig.get_config_var("SOABI")) + ("-trace" if options.trace_imports else "")
    work = (options.work or TOP / "build/obj" / tag).resolve()
    work.mkdir(parents=True, exist_ok=True)
    lock = os.open(work, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)  # two builds at a time in one checkout would mix up their files
    try:
        if options.analyze:
            analyze(work)
            return 0
        build(options.output.resolve(), work, options.trace_imports)
        if options.library or options.dev:
            build_library(options.library, options.dev, work)
    except (Failed, subprocess.CalledProcessError) as error:
        print(f"build.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
