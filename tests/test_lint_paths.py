"""What runs where a container's files can be seen must not resolve their paths by itself.

Two thirds of the known container escapes are one mistake: a path text, resolved twice, in a tree that belongs to the
attacker. So in the child's modules only paths/under_root.py turns a path of the container into a descriptor
(openat2, RESOLVE_IN_ROOT); all others work on descriptors, and on single names below one. This test reads the syntax
trees of these modules. What else they may do stands in ALLOWED, each with the reason why no container has a say in it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PYRUN = Path(__file__).resolve().parents[1] / "runtime/pyrun"
# The compiler runs in a process of its own, and is given no path.
COLD = {"features/seccomp/compiler.py", "features/seccomp/bpf.py"}
MODULES = sorted(
    [
        *PYRUN.glob("paths/*.py"),
        *(each for each in PYRUN.glob("features/**/*.py") if str(each.relative_to(PYRUN)) not in COLD),
        *(PYRUN / f"story/{name}.py" for name in ("inside", "inside_exec", "last", "orders", "diagnose")),
    ]
)
THE_ONE = "paths/under_root.py"

# Calls that take a path. Those in the second row can't take a descriptor to start from.
PATH_CALLS = set(
    "open mkdir mknod mkfifo symlink link chmod chown lchown readlink stat lstat access unlink remove rmdir rename"
    " replace utime listdir scandir statvfs truncate chdir chroot execve setxattr getxattr removexattr".split()
)
FOLLOWING = {"stat", "chown", "chmod", "utime"}  # need follow_symlinks=False
# pyrun.kernel's own calls that take a path
KERNEL_CALLS = {
    "calls": {"openat2", "read_file", "write_file", "connect", "listen", "replace_file", "exists"},
    "mounts": {"mount", "umount_detach", "pivot_root"},
    "process": {"execveat", "setns"},
}
SAFE_TARGETS = ("'/'", "'.'", "f'/proc/self/fd/{")
FORBIDDEN_IMPORTS = {
    "os",
    "io",
    "pathlib",
    "shutil",
    "glob",
    "tempfile",
    "subprocess",
    "ctypes",
    "importlib",
    "pwd",
    "grp",
}

# (module, call as ast.unparse writes it): why it is safe
ALLOWED = {
    # before the root file system is a mount in this namespace, by the host's names
    ("features/mounts/sources.py", "posix.open(mount.source, calls.O_PATH | calls.O_CLOEXEC)"): (
        "the configuration's source, a path of the host; opened before anything of the container is mounted"
    ),
    ("features/mounts/cgroup.py", "posix.open(path, calls.O_PATH | calls.O_CLOEXEC)"): (
        "a cgroup of the host, by the host's path"
    ),
    ("features/rootfs.py", "posix.open(path, calls.O_PATH | posix.O_DIRECTORY | calls.O_CLOEXEC)"): (
        "root.path, a path of the host: the folder itself"
    ),
    ("features/devices.py", "posix.open(path, calls.O_PATH | calls.O_CLOEXEC)"): (
        "a device of the host by the host's path, checked to be the very device by type and number"
    ),
    ("features/device_nodes.py", "mounts.umount_detach(f'/proc/self/fd/{nodes}')"): (
        "a descriptor, by the host's /proc, before pivot_root"
    ),
    ("features/devices.py", "posix.stat('/dev')"): "the host's /dev, before pivot_root",
    (
        "features/mounts/make.py",
        "posix.open('/sys', calls.O_PATH | posix.O_DIRECTORY | calls.O_CLOEXEC)",
    ): "the host's /sys, before pivot_root",
    ("paths/proc_files.py", "posix.open('/proc', calls.O_PATH | posix.O_DIRECTORY | calls.O_CLOEXEC)"): (
        "the host's /proc, before pivot_root, checked to be the root of a procfs"
    ),
    ("paths/proc_files.py", "calls.openat2(proc, path, flags, resolve)"): (
        "below the checked procfs: no link followed, no mount crossed"
    ),
    ("paths/proc_files.py", "calls.openat2(proc, f'self/{path}', flags, resolve)"): (
        "below the checked procfs: no mount crossed, no link followed but its own, which no mount covers"
    ),
    ("features/mounts/mount_tree.py", "calls.read_file(f'/proc/self/fdinfo/{fd}')"): "a descriptor of ours",
    (
        "features/mounts/mount_tree.py",
        "calls.read_file('/proc/self/mountinfo')",
    ): "before pivot_root: the host's /proc",
    ("features/mounts/mount_tree.py", "calls.openat2(fd, path, calls.O_PATH, RESOLVE)"): (
        "below a mount of ours without links, and what is found is compared with the kernel's number of the mount"
    ),
    ("features/rootfs.py", "calls.read_file('/proc/self/mountinfo')"): (
        "the host's /proc, before pivot_root"
    ),
    (
        "features/rootfs.py",
        "mounts.mount(None, mount_tree.unescape(fields[4]), None, mounts.MS_PRIVATE, None)",
    ): "a mount point of the host, and only its propagation in this namespace changes",
    ("features/rootfs.py", "posix.open('/', calls.O_PATH | posix.O_DIRECTORY | calls.O_CLOEXEC)"): "the root",
    (
        "features/rootfs.py",
        "mounts.pivot_root('.', '.')",
    ): "the folder that we stand in, which is a descriptor",
    ("features/rootfs.py", "mounts.umount_detach('.')"): "the folder that we stand in, which is a descriptor",
    ("features/rootfs.py", "posix.chdir('/')"): "the root",
    ("features/rootfs.py", "mounts.umount_detach(fields[4].decode())"): (
        "the host's /proc and /sys, in this namespace"
    ),
    ("features/rootfs.py", "posix.chroot('.')"): "the folder that we stand in",
    (
        "story/last.py",
        "process.execveat(stage2_fd, '', argv, [str(orders_fd), *variables])",
    ): "the sealed memfd",
    ("story/inside_exec.py", "posix.chroot('.')"): "the root of the container's init, which is a descriptor",
    (
        "story/inside_exec.py",
        "posix.open('/', calls.O_PATH | posix.O_DIRECTORY | calls.O_CLOEXEC)",
    ): "the root",
    (
        "features/hooks.py",
        "process.execveat(calls.AT_FDCWD, hook['path'], argv, hook.get('env') or [])",
    ): "a hook's path is the host's, and / is still the host's when it runs",
    ("features/hooks.py", "posix.chdir(bundle)"): "the host's bundle, for hooks that run on the host",
    ("features/hooks.py", "posix.chdir('/')"): "the host's root, still",
    (
        "features/mounts/old_kernel.py",
        "posix.open('/', calls.O_PATH | posix.O_DIRECTORY | calls.O_CLOEXEC)",
    ): "the root",
    ("features/mounts/overlay.py", "posix.open(value, calls.O_PATH | posix.O_DIRECTORY | calls.O_CLOEXEC)"): (
        "a layer of an overlay, a path of the host as the kernel would look it up, before pivot_root"
    ),
    ("features/labels.py", "posix.open('/sys/fs/selinux/context', posix.O_RDWR | posix.O_CLOEXEC)"): (
        "runs on the host, before the clone"
    ),
    ("features/labels.py", "posix.setxattr(folder, 'security.selinux', label.encode() + b'\\x00')"): (
        "a descriptor of a file system that was made on the spot"
    ),
    ("features/mounts/sources.py", "posix.readlink(f'/proc/self/fd/{folder}')"): "the host's /proc",
    (
        "features/mounts/sources.py",
        "posix.stat(part)",
    ): "a part of the configuration's source, a path of the host",
    (
        "features/mounts/sources.py",
        "posix.open(f'/proc/{pid}/root', calls.O_PATH | posix.O_DIRECTORY | calls.O_CLOEXEC)",
    ): "runs on the host: the root of the init, while it is still the host's",
    ("features/mounts/sources.py", "calls.openat2(slash, source, calls.O_PATH, calls.RESOLVE_IN_ROOT)"): (
        "runs on the host: the configuration's source, as the init would look it up if it had the right to"
    ),
    # descriptors, or the one open of a descriptor that is pinned and checked
    ("features/mounts/tmpcopyup.py", "posix.listdir(reading)"): "a descriptor",
    (
        "features/mounts/tmpcopyup.py",
        "posix.open(f'/proc/self/fd/{pinned}', posix.O_RDONLY | posix.O_NONBLOCK | O_CLOEXEC)",
    ): "the same file again, after it was checked to be a regular one; /proc is the host's",
    (
        "story/diagnose.py",
        "posix.open(f'/proc/self/fd/{fd}', posix.O_RDONLY | posix.O_NONBLOCK | posix.O_NOCTTY | calls.O_CLOEXEC)",
    ): "the same file again, after it was checked to be a regular one; runs on the host",
    ("story/diagnose.py", "posix.open(places.rootfs, calls.O_PATH | posix.O_DIRECTORY | calls.O_CLOEXEC)"): (
        "root.path, a path of the host: the folder itself"
    ),
    ("story/diagnose.py", "posix.open(folder, calls.O_PATH | calls.O_CLOEXEC)"): (
        "root.path or the source of a bind mount, paths of the host"
    ),
    # features/oom_score.py writes to the host's /proc, before a namespace is joined
    (
        "features/oom_score.py",
        "calls.write_file(f'/proc/{pid}/oom_score_adj', str(score))",
    ): "our child, or we",
    (
        "features/oom_score.py",
        "calls.read_file(f\"/proc/{inside.state['pid']}/oom_score_adj\")",
    ): "the container's process, which is pinned by a pidfd",
    ("features/oom_score.py", "calls.read_file(own)"): "our own",
    ("features/oom_score.py", "calls.write_file(own, theirs)"): "our own",
    # features/id_maps.py and features/namespaces.py run in the parent, on the host's /proc
    ("features/id_maps.py", "calls.write_file(f'/proc/{pid}/{kind}_map', text)"): "the init, our child",
    ("features/id_maps.py", "calls.write_file(f'/proc/{pid}/setgroups', 'deny')"): "the init, our child",
    ("features/id_maps.py", "posix.access(path, posix.X_OK)"): "newuidmap on the host",
    ("features/namespaces.py", "posix.stat(f'/proc/{owner}/ns/{name}')"): "the host's /proc",
    (
        "features/namespaces.py",
        "posix.open(path, posix.O_RDONLY | posix.O_NONBLOCK | posix.O_NOCTTY | posix.O_CLOEXEC)",
    ): "the configuration's path, on the host; what is open is compared, and joined",
    (
        "features/mounts/joined_procfs.py",
        "process.execveat(stage2_fd, '', ['pyrun-procfs'], ['p', str(namespace), str(sock), str(count)])",
    ): "the sealed memfd",
    (
        "features/mounts/joined_procfs.py",
        "posix.readlink(f'/proc/self/fd/{context}')",
    ): "a descriptor of ours",
    # features/labels.py runs in the parent, before there is a container
    (
        "features/time_offsets.py",
        "posix.open(f'{own}/ns/time_for_children', posix.O_RDONLY | posix.O_CLOEXEC, dir_fd=proc)",
    ): "a link of the host's /proc, opened by the parent, that only the kernel can follow",
    # features/intel_rdt.py runs in the parent, and its paths are those of the host's resctrl, which /proc names
    **{
        ("features/intel_rdt.py", call): "the host's resctrl"
        for call in (
            "calls.read_file('/proc/self/mountinfo')",
            "calls.exists(f'{group}/schemata')",
            "calls.exists(group)",
            "calls.exists(f'{top}/mon_groups')",
            "calls.exists(monitor)",
            "calls.read_file(f'{group}/schemata')",
            "posix.mkdir(rdt['class'], 493)",
            "posix.rmdir(rdt['class'])",
            "posix.mkdir(path, 493)",
            "calls.write_file(f\"{rdt['class']}/schemata\", text + '\\n')",
            "calls.read_file(f'{top}/info/last_cmd_status')",
            "calls.write_file(f'{folder}/tasks', str(making.pid))",
            "posix.rmdir(folder)",
            "calls.read_file(f\"{rdt['class']}/schemata\")",
            "calls.write_file(f\"{rdt['class']}/schemata\", line.strip() + '\\n')",
            "posix.listdir(f'{folder}/mon_data')",
            "calls.read_file(path)",
        )
    },
    # features/net_devices.py runs in the parent, on the host's /proc
    (
        "features/net_devices.py",
        "posix.open('/proc/self/ns/net', posix.O_RDONLY | posix.O_CLOEXEC)",
    ): "our own",
    (
        "features/net_devices.py",
        "posix.open(f'/proc/{making.pid}/ns/net', posix.O_RDONLY | posix.O_CLOEXEC)",
    ): ("the init, our child"),
    ("features/net_devices.py", "process.setns(namespace, process.CLONE_NEWNET, '')"): "a descriptor",
    ("features/net_devices.py", "process.setns(own, process.CLONE_NEWNET, '')"): "a descriptor",
    # features/mounts/idmap.py: the parent, on the host's /proc
    ("features/mounts/idmap.py", "posix.open(f'/proc/{pid}/ns/user', posix.O_RDONLY | posix.O_CLOEXEC)"): (
        "the init or a helper, our children"
    ),
    ("features/labels.py", "posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)"): "the host's /sys",
    ("features/labels.py", "posix.stat('/proc/self/attr/apparmor')"): "the host's /proc",
    ("features/crun_annotations.py", "posix.open(path, flags, 420)"): "the parent, by the configuration",
    (
        "features/seccomp/notify.py",
        "posix.stat(self.path)",
    ): "the agent's socket, of the configuration, on the host",
    ("features/seccomp/notify.py", "calls.connect(self.path, PATIENCE)"): "the same",
    ("features/seccomp/notify.py", "posix.readlink(f'/proc/self/fd/{fd}')"): "a descriptor",
    # features/seccomp/cache.py runs in the parent, before there is a container, on the runtime's own root folder
    ("features/seccomp/cache.py", "posix.stat(library)"): "libseccomp on the host",
    (
        "features/seccomp/cache.py",
        "posix.open(path, posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC)",
    ): "the cache below the runtime's root; owner, mode, type and content are checked",
    ("features/seccomp/cache.py", "posix.mkdir(cache_dir, 448)"): "the cache below the runtime's root",
    (
        "features/seccomp/cache.py",
        "posix.open(cache_dir, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC)",
    ): "the cache below the runtime's root; its owner and mode are checked",
    ("features/seccomp/cache.py", "posix.listdir(dirfd)"): "a descriptor",
    (
        "features/seccomp/compiling.py",
        "posix.execve(argv[0], argv, environment)",
    ): "the compiler, on the host",
}


class Finding(tuple[str, str]):
    """(module, call) with what is wrong about it, and where it stands."""

    what: str
    line: int


def _finding(module: str, node: ast.AST, what: str) -> Finding:
    found = Finding((module, ast.unparse(node)))
    found.what = what
    found.line = getattr(node, "lineno", 0)
    return found


def lint(module: str, text: str) -> Iterator[Finding]:
    """Everything in a module's text that resolves a path and isn't safe by its form."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
            if node.module == "posix":
                yield _finding(module, node, "posix's functions are called by their full names")
        for name in names:
            if name.partition(".")[0] in FORBIDDEN_IMPORTS:
                yield _finding(module, node, f"{name} resolves paths, or loads what it finds")
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    inner = {id(node) for function in functions for node in ast.walk(function)}
    for function in functions:
        safe_open = any(
            isinstance(node, ast.Attribute) and node.attr in ("O_NOFOLLOW", "O_EXCL")
            for node in ast.walk(function)
        )
        for node in ast.walk(function):
            what = _wrong(node, safe_open)
            if what:
                yield _finding(module, node, what)
    for node in ast.walk(tree):
        if id(node) not in inner and (what := _wrong(node, False)):
            yield _finding(module, node, what)


def _wrong(node: ast.AST, safe_open: bool) -> str:
    if not isinstance(node, ast.Call):
        return ""
    if isinstance(node.func, ast.Name):
        if node.func.id == "open":
            return "the builtin open resolves a path"
        if node.func.id == "openat2":
            return "openat2 is called by under_root and proc_files only"
        return ""
    if not (isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name)):
        return ""
    owner, call = node.func.value.id, node.func.attr
    if call in KERNEL_CALLS.get(owner, ()):
        if call == "mount" and ast.unparse(node.args[1]).startswith(SAFE_TARGETS):
            return ""
        return f"{owner}.{call} resolves a path"
    if owner != "posix" or call not in PATH_CALLS:
        return ""
    keywords = {keyword.arg: keyword.value for keyword in node.keywords}
    if not {"dir_fd", "src_dir_fd"} & keywords.keys():
        return "a path without dir_fd"
    path = node.args[1] if call == "symlink" else node.args[0]
    if not isinstance(path, ast.Name):
        return "below a descriptor only a single name, held in a variable, is opened"
    if call == "open" and not safe_open:
        return "open follows a link unless O_NOFOLLOW or O_EXCL says otherwise"
    if call in FOLLOWING and ast.unparse(keywords.get("follow_symlinks", ast.Constant(True))) != "False":
        return f"{call} follows a link unless follow_symlinks=False"
    return ""


def _name(path: Path) -> str:
    return str(path.relative_to(PYRUN))


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_no_path_is_resolved(path: Path) -> None:
    """Each path-resolving call of a module is safe by its form, or stands in ALLOWED."""
    module = _name(path)
    if module == THE_ONE:
        return
    bad = [each for each in lint(module, path.read_text()) if each not in ALLOWED]
    assert not bad, "\n".join(f"{module}:{each.line}: {each[1]}: {each.what}" for each in bad)


def test_allowed_calls_exist() -> None:
    """Nothing stands in ALLOWED that isn't there any more."""
    found = {each for path in MODULES for each in lint(_name(path), path.read_text())}
    assert not ALLOWED.keys() - found


def test_the_one_module() -> None:
    """under_root itself: each openat2 is scoped to the root or a parent, and everything else is below a descriptor."""
    tree = ast.parse((PYRUN / THE_ONE).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id == "openat2":
                assert "RESOLVE_IN_ROOT" in ast.unparse(node) or "RESOLVE_BENEATH" in ast.unparse(node)
            else:
                assert not _wrong(node, True), ast.unparse(node)


@pytest.mark.parametrize(
    "code",
    [
        "posix.open(path, posix.O_RDONLY)",
        "posix.open(f'{root}/dev/null', posix.O_RDONLY | posix.O_NOFOLLOW)",
        "posix.open(name, posix.O_RDONLY, dir_fd=parent)",
        "posix.open('dev/null', posix.O_RDONLY | posix.O_NOFOLLOW, dir_fd=root)",
        "posix.mkdir(path)",
        "posix.mkdir('a/b', dir_fd=root)",
        "posix.mknod(path, 0o600)",
        "posix.symlink('x', path)",
        "posix.stat(name, dir_fd=parent)",
        "posix.chown(name, 0, 0, dir_fd=parent)",
        "posix.readlink(path)",
        "mounts.mount('tmpfs', path, 'tmpfs', 0, None)",
        "mounts.mount('tmpfs', f'{root}/dev', 'tmpfs', 0, None)",
        "mounts.umount_detach(path)",
        "calls.openat2(root, path, 0, 0)",
        "calls.write_file(path, '1')",
        "open(path)",
        "import os",
        "from pathlib import Path",
        "from posix import open",
    ],
)
@pytest.mark.parametrize(
    "form", ["{}", "def f():\n    {}", "def f():\n    def g():\n        return 1\n    {}"]
)
def test_lint_sees(code: str, form: str) -> None:
    """The mistakes that this test is for are found, wherever they stand."""
    assert list(lint("x.py", form.format(code)))


@pytest.mark.parametrize(
    "code",
    [
        "posix.open(name, posix.O_RDONLY | posix.O_NOFOLLOW, dir_fd=parent)",
        "posix.mkdir(name, 0o755, dir_fd=parent)",
        "posix.symlink('/proc/self/fd', name, dir_fd=parent)",
        "posix.stat(name, dir_fd=parent, follow_symlinks=False)",
        "mounts.mount(None, '/', None, 1, None)",
        "mounts.mount(None, f'/proc/self/fd/{fd}', None, 1, None)",
        "mounts.move_mount(tree, target)",
        "under_root.lookup(root, path)",
    ],
)
def test_lint_lets_pass(code: str) -> None:
    """What works on descriptors is fine."""
    assert not list(lint("x.py", f"def f():\n    {code}"))
