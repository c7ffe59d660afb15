"""Build the binary: `python build.py --output build/bin/pyrun`, for the interpreter that runs this file.

Used by `make` and by the wheel (backend.py). The steps:

1. the C sources of two extension modules that are linked in, cffi's backend and simplejson's scanner, come from their
   source distributions on PyPI, pinned; our own kernel module's C source is made by cffi from kernel.h;
2. the hot modules are compiled and frozen (freeze.py), stage 2 is compiled;
3. all is linked with libpython: statically where there is a libpython.a, else with the shared library.

Steps whose inputs didn't change since the last time are skipped.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

LAUNCHER = Path(__file__).resolve().parent
TOP = LAUNCHER.parent.parent
ROOTS = [TOP / "runtime", TOP / "spec"]
#: Modules that the scanner imports, for which a few lines stand in (standin/).
STANDINS = LAUNCHER / "standin"
SIMPLEJSON = "simplejson==4.3.0"
OURS = "-Wall -Wextra -Werror".split()
THEIRS = "-w -DUSE__THREAD -DHAVE_SYNC_SYNCHRONIZE".split()


class Failed(Exception):
    """A step that can't be done; the text says why and, where known, what to install."""


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def _run(command: list[str]) -> str:
    """Run a command; its output, or Failed with its last words."""
    try:
        done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    except OSError as error:
        raise Failed(f"{command[0]}: {error.strerror}") from None
    if done.returncode:
        raise Failed(f"{shlex.join(command)}\n{done.stdout}")
    return done.stdout


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


def version() -> str:
    """The project's version."""
    return (TOP / "runtime/pyrun/VERSION").read_text().strip()


def commit() -> str:
    """What git calls the source tree, "" outside of a checkout."""
    try:
        return _run(["git", "-C", str(TOP), "describe", "--always", "--dirty", "--abbrev=12"]).strip()
    except Failed:
        return ""


def interpreter() -> str:
    """The full interpreter that belongs to this build: never a virtual environment's, never a link to the newest."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def facts() -> dict[str, str]:
    """What the program tells about itself."""
    return {"VERSION": version(), "COMMIT": commit(), "PYTHON": interpreter()}


def source(requirement: str, store: Path) -> Path:
    """The unpacked source distribution of a pinned requirement, downloaded by pip if it isn't there yet."""
    folder = store / requirement.replace("==", "-")
    if not folder.is_dir():
        _say(f"fetching the source of {requirement}")
        command = [sys.executable, "-m", "pip", "--quiet", "download", "--no-deps", "--no-binary", ":all:"]
        _run([*command, "--dest", str(store), requirement])
        _run(["tar", "-C", str(store), "-xzf", f"{folder}.tar.gz"])
    return folder


def pinned(name: str) -> str:
    """The line of requirements.txt for a package."""
    lines = (LAUNCHER / "requirements.txt").read_text().splitlines()
    return next(line for line in lines if line.partition("==")[0] == name)


class Compiler:
    """A C compiler with its flags, that compiles only what changed."""

    def __init__(self, work: Path, flags: list[str]) -> None:
        self.work = work
        self.command = [*shlex.split(os.environ.get("CC") or "gcc"), *flags]

    def compile(self, path: Path, flags: list[str], depends: list[Path]) -> Path:
        """The object file of a C or assembler source."""
        target = self.work / f"{path.stem}.o"
        key = hashlib.sha256(repr([self.command, flags, sys.version]).encode())
        for file in [path, *depends]:
            key.update(file.read_bytes())
        stamp = target.with_suffix(".stamp")
        if not target.is_file() or not stamp.is_file() or stamp.read_text() != key.hexdigest():
            _say(f"compiling {path.name}")
            _run([*self.command, *flags, "-c", "-o", str(target), str(path)])
            stamp.write_text(key.hexdigest())
        return target


def _freeze(work: Path) -> None:
    """Write data.S with the frozen modules and stage 2, and build_facts.h with their names and the build's facts."""
    freeze, kernel = _load(LAUNCHER / "freeze.py"), _load(TOP / "runtime/pyrun/kernel/build.py")
    modules = freeze.closure(["pyrun.main", "simplejson.errors", "simplejson.raw_json", "operator"], [*ROOTS, STANDINS])
    table, offset = [], 0
    for module in modules:
        table.append(f'FROZEN("{module.name}", {offset}, {len(module.code)}, {int(module.is_package)})')
        offset += len(module.code)
    _write(work / "frozen.bin", b"".join(module.code for module in modules))
    kernel.compile_stage2(work / "stage2", os.environ.get("CC") or "gcc")
    kernel.emit(work / "_pyrun_kernel.c")
    lines = [f'#define {name} "{value}"' for name, value in facts().items()]
    _write(work / "build_facts.h", "\n".join([*lines, "#define FROZEN_MODULES \\", " \\\n".join(table), "", ""]))
    labels = [("frozen_code", "frozen_end", "frozen.bin"), ("stage2_start", "stage2_end", "stage2")]
    text = ['.section .rodata', '.section .note.GNU-stack,"",%progbits', ".section .rodata"]
    for start, end, file in labels:
        text += [f".global {start}, {end}", ".balign 64", f"{start}:", f'.incbin "{work / file}"', f"{end}:"]
    _write(work / "data.S", "\n".join([*text, ""]))


def _libraries() -> list[str]:
    """What libpython wants to be linked with, as its own Makefile said."""
    words = " ".join(str(sysconfig.get_config_var(name) or "") for name in ("MODLIBS", "LIBS", "SYSLIBS"))
    return list(dict.fromkeys(word for word in words.split() if word.startswith("-l")))


def _ways_to_link(objects: list[Path]) -> list[tuple[str, list[str]]]:
    """The ways to link, best first: (name, arguments for the compiler)."""
    config = sysconfig.get_config_var
    archive = Path(config("LIBPL") or "/nonexistent", f"libpython{config('LDVERSION')}.a")
    common = [*map(str, objects)]
    ways = []
    if archive.is_file():
        ways.append(("static", ["-static", "-no-pie", *common, str(archive), "-lffi", *_libraries(), "-lpthread"]))
    if config("Py_ENABLE_SHARED"):
        folder = config("LIBDIR")
        shared = [f"-L{folder}", f"-Wl,-rpath,{folder}", f"-lpython{config('LDVERSION')}", "-lffi"]
        ways.append(("shared", ["-no-pie", *common, *shared]))
    return ways


def _headers() -> list[str]:
    return [f"-I{sysconfig.get_path(name)}" for name in ("include", "platinclude")]


def build(output: Path, work: Path, trace: bool = False) -> str:
    """Build the binary into `output` with intermediate files under `work`; returns how it was linked."""
    store = work.parent / "sources"
    work.mkdir(parents=True, exist_ok=True)
    store.mkdir(exist_ok=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    cffi, simplejson = source(pinned("cffi"), store), source(SIMPLEJSON, store)
    _freeze(work)
    cc = Compiler(work, ["-O2", "-fno-pie", *_headers(), f"-I{work}"])
    kernel = TOP / "runtime/pyrun/kernel"
    objects = [
        cc.compile(cffi / "src/c/_cffi_backend.c", THEIRS, []),
        cc.compile(simplejson / "simplejson/_speedups.c", THEIRS, []),
        cc.compile(work / "_pyrun_kernel.c", ["-w"], [kernel / "kernel.c", kernel / "kernel.h"]),
        cc.compile(work / "data.S", [], [work / "frozen.bin", work / "stage2"]),
        cc.compile(LAUNCHER / "pyrun.c", [*OURS, *["-DPYRUN_TRACE_IMPORTS"] * trace], [work / "build_facts.h"]),
    ]
    reasons = ["there is neither a libpython.a nor a shared libpython for this interpreter"]
    for way, arguments in _ways_to_link(objects):
        _say(f"linking {output.name} ({way})")
        try:
            _run([*cc.command, "-O2", "-Wl,--strip-debug", "-o", f"{output}.new", *arguments])
        except Failed as error:
            reasons.append(f"{way}: {error}")
            continue
        os.replace(f"{output}.new", output)
        return way
    raise Failed("\n".join(reasons))


def build_library(library: Path | None, dev: Path | None, work: Path) -> None:
    """Fill the full interpreter's folder `library`, and `dev` with what the sources alone lack; after build()."""
    make = _load(LAUNCHER / "library.py")
    name = "_pyrun_kernel" + str(sysconfig.get_config_var("EXT_SUFFIX"))
    shared = work / "shared"
    shared.mkdir(exist_ok=True)
    kernel = TOP / "runtime/pyrun/kernel"
    cc = Compiler(shared, ["-O2", "-fPIC", *_headers()])
    module = cc.compile(work / "_pyrun_kernel.c", ["-w"], [kernel / "kernel.c", kernel / "kernel.h"])
    _run([*cc.command, "-shared", "-o", str(shared / name), str(module)])
    if library:
        make.write_dependencies(library, LAUNCHER / "requirements.txt")
        make.write_sources(library, ROOTS)
    for folder in filter(None, (library, dev)):
        make.write_modules(folder, shared / name, work / "stage2")


def analyze(work: Path) -> None:
    """Hold our C to the compiler's strictest: warnings are errors, and gcc's static analyzer finds nothing."""
    _freeze(work)
    for path in sorted([*TOP.glob("runtime/pyrun/kernel/*.c"), *LAUNCHER.glob("*.c")]):
        _say(f"analyzing {path.relative_to(TOP)}")
        warnings = [*OURS, "-Wshadow", "-Wstrict-prototypes", "-fanalyzer"]
        includes = [f"-isystem{flag[2:]}" for flag in _headers()] + [f"-I{work}"]
        _run(["gcc", "-O2", *warnings, *includes, "-include", "stddef.h", "-c", "-o", "/dev/null", str(path)])


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Build the pyrun binary for the interpreter that runs this script.")
    parser.add_argument("--output", type=Path, default=TOP / "build/bin/pyrun")
    parser.add_argument("--work", type=Path, help="folder for intermediate files")
    parser.add_argument("--library", type=Path, help="also make the folder that the full interpreter runs from")
    parser.add_argument("--dev", type=Path, help="also make a folder with what the sources lack to run unfrozen")
    parser.add_argument("--trace-imports", action="store_true", help="a binary for tests: module names to descriptor 9")
    parser.add_argument("--analyze", action="store_true", help="check the C sources instead of building")
    options = parser.parse_args()
    tag = str(sysconfig.get_config_var("SOABI")) + ("-trace" if options.trace_imports else "")
    work = (options.work or TOP / "build/obj" / tag).resolve()
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
