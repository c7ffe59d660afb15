"""Lockdown: nothing of the container's file system is ever imported, loaded or looked up by name services.

An interpreter that opens one module from the image runs the image's code with the runtime's rights. Here the image is
full of what an interpreter and a C library look for, everywhere they look, and a trace of every system call of the
runtime that names a file shows that none of it was looked for, let alone opened.
"""

from __future__ import annotations

import subprocess
import sys

import needs
from bundles import CALLER, new_id

VERSIONS = [f"python3.{minor}" for minor in range(11, 15)]
MODULES = (
    "encodings/__init__.py encodings/utf_8.py posixpath.py os.py io.py abc.py codecs.py site.py json.py"
    " json/__init__.py errno.py posix.py sitecustomize.py usercustomize.py pyrun/__init__.py"
    " oci_spec/__init__.py _pyrun_kernel.py simplejson/__init__.py linecache.py traceback.py"
).split()
LIBRARIES = (
    "libc.so.6 libnss_files.so.2 libnss_dns.so.2 libnss_compat.so.2 libnss_systemd.so.2 libgcc_s.so.1 libpython3.so"
    " libseccomp.so.2 gconv/gconv-modules gconv/UTF-32.so locale/locale-archive locale/C.UTF-8/LC_CTYPE"
    " locale/locale.alias"
).split()
CONFIGURATION = (
    "etc/ld.so.preload etc/ld.so.cache etc/nsswitch.conf etc/host.conf etc/resolv.conf etc/hosts etc/localtime"
    " etc/locale.alias etc/gai.conf etc/suid-debug pyvenv.cfg python311.zip pybuilddir.txt"
).split()


def planted():
    """The paths of all planted files, relative to the root."""
    for folder in (
        "",
        "tmp/",
        *[f"usr/lib/{name}/" for name in VERSIONS],
        *[f"lib/{name}/" for name in VERSIONS],
    ):
        yield from (folder + name for name in MODULES)
    for folder in (
        "lib/",
        "lib64/",
        "usr/lib/",
        "lib/x86_64-linux-gnu/",
        "usr/lib/x86_64-linux-gnu/",
        "usr/share/",
    ):
        yield from (folder + name for name in LIBRARIES)
    yield from CONFIGURATION


def plant(one):
    """Put them into a bundle's root file system; each would leave a mark if it were run as Python."""
    for path in planted():
        where = one.rootfs / path
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_text("raise SystemExit('planted')\n")


def trace(pyrun, one, tmp_path, *options, **more):
    """Run a container under strace; the lines of every call that names a file, made before the program's execve."""
    needs.program("strace")
    log = tmp_path / "strace"
    container_id = new_id()
    pyrun.ids.append(container_id)
    argv = [
        "strace",
        "-f",
        "-s",
        "300",
        "-o",
        str(log),
        "-e",
        "trace=%file,openat2,open_tree,move_mount,execveat",
    ]
    argv += [
        str(pyrun.runtime),
        "--root",
        str(pyrun.root),
        "run",
        "--bundle",
        str(one.path),
        *options,
        container_id,
    ]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=CALLER, check=False, **more)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ran\n", ""), done
    lines = log.read_text().splitlines()
    last = max(i for i, line in enumerate(lines) if 'execve("/bin/echo"' in line)
    return lines[: last + 1]


def of_the_child(lines):
    """The lines of all processes but the first, which never leaves the host (and looks at the host's time zone)."""
    return [line for line in lines if line.split()[0] != lines[0].split()[0]]


def base(name):
    """The last component of a path."""
    return name.rpartition("/")[2]


def names(lines):
    """All texts between quotes."""
    return [text for line in lines for text in line.split('"')[1::2]]


def test_nothing_planted_is_looked_for(pyrun, bundle, tmp_path):
    """No file name that any interpreter or C library would look for stands in any system call of the runtime."""
    one = bundle().args("echo", "ran")
    plant(one)
    lines = trace(pyrun, one, tmp_path, cwd=one.rootfs)
    seen = names(of_the_child(lines))
    assert "mqueue" in seen  # the trace sees the work of init
    looked_for = {base(path) for path in planted()}
    assert not [name for name in seen if base(name) in looked_for or name.endswith((".py", ".pyc", ".so"))]
    host = {"localtime", "ld.so.preload", "ld.so.cache"}
    assert not [
        name for name in names(lines) if base(name) in looked_for - host or name.endswith((".py", ".pyc"))
    ]


def test_every_path_of_the_init_is_known(pyrun, bundle, tmp_path):
    """After pivot_root the init names these files and no other, whatever the image holds."""
    one = bundle({"process": {"user": {"uid": 1000, "gid": 1000}}}).args("echo", "ran")
    one.config["process"].pop("rlimits", None)
    one.write()
    plant(one)
    lines = trace(pyrun, one, tmp_path)
    start = next(i for i, line in enumerate(lines) if "pivot_root(" in line)
    pid = lines[start].split()[0]
    inside = [line for line in lines[start:] if line.split()[0] == pid]
    # /etc/passwd, for HOME, is read below the root and by our own parser
    assert set(names(inside)) <= {
        ".",
        "",
        "/",
        "echo",
        "ran",
        "/etc/passwd",
        "/dev/null",
        "/bin/echo",
        *search_path(),
    }, inside


def search_path():
    """Where the program is looked for."""
    return {
        f"{folder}/echo" for folder in "/usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /sbin /bin".split()
    }


def test_this_test_would_see_an_import(tmp_path):
    """Negative control: of an ordinary interpreter the trace shows the files that it looks for."""
    needs.program("strace")
    log = tmp_path / "strace"
    argv = ["strace", "-f", "-o", str(log), "-e", "trace=%file", sys.executable, "-S", "-c", "import json"]
    subprocess.run(argv, check=True, timeout=60)
    assert any("encodings" in name for name in names(log.read_text().splitlines()))


def test_a_failure_after_pivot_imports_nothing(pyrun, bundle, tmp_path):
    """Errors are where interpreters load codecs and source lines: not here."""
    one = bundle({"process": {"cwd": "/bin/busybox/é"}})
    plant(one)
    needs.program("strace")
    log = tmp_path / "strace"
    container_id = new_id()
    pyrun.ids.append(container_id)
    argv = [
        "strace",
        "-f",
        "-o",
        str(log),
        "-e",
        "trace=%file",
        str(pyrun.runtime),
        "--root",
        str(pyrun.root),
    ]
    argv += ["run", "--bundle", str(one.path), container_id]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=CALLER, check=False)
    assert done.returncode == 1
    assert "process.cwd" in done.stderr
    looked_for = {base(path) for path in planted()}
    assert not [
        name for name in names(of_the_child(log.read_text().splitlines())) if base(name) in looked_for
    ]
