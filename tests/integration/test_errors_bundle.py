"""Bundles, ids, options and surroundings that can't be: one sentence, exit status 1, nothing left behind."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import needs
import pytest
from bundles import Bundle, Pyrun, new_id
from error_checks import examples, fails, nothing_made, run, sentence_of
from hypothesis import given
from hypothesis import strategies as st

Make = Callable[..., Bundle]


def create_fails(pyrun: Pyrun, bundle: Path | str, *options: str) -> str:
    """`create` fails; its sentence."""
    container_id = new_id()
    sentence = fails(pyrun, ["create", "--bundle", str(bundle), *options, container_id])
    nothing_made(pyrun, container_id)
    return sentence


def test_missing_bundle(pyrun: Pyrun, tmp_path: Path) -> None:
    assert create_fails(pyrun, tmp_path / "none") == f"the bundle {tmp_path}/none does not exist"


def test_bundle_is_a_file(pyrun: Pyrun, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file") in create_fails(pyrun, tmp_path / "file")


@pytest.mark.parametrize("how", ["config.json", "exec --process", "exec --process -", "update --resources"])
def test_a_document_that_is_too_large(pyrun: Pyrun, bundle: Make, tmp_path: Path, how: str) -> None:
    """The sentence says how large it may be."""
    large = tmp_path / "large.json"
    size = 1 if how.startswith("update") else 16
    with large.open("wb") as file:
        file.truncate((size << 20) + 1)
    one = bundle().args("sleep", "1000")
    words = f"larger than {size} MiB, which is the most that is read"
    if how == "config.json":
        assert words in create_fails(pyrun, one.path, "--config", str(large))
        return
    container = pyrun.start(one)
    with large.open("rb") as file:
        if how.startswith("update"):
            assert words in pyrun.error("update", "--resources", str(large), container.id)
        elif how.endswith(" -"):
            assert words in container.exec_refused([], "--process", "-", stdin=file)
        else:
            assert words in container.exec_refused([], "--process", str(large))


def test_empty_bundle(pyrun: Pyrun, tmp_path: Path) -> None:
    assert "config.json does not exist" in create_fails(pyrun, tmp_path)


def test_no_rootfs(pyrun: Pyrun, bundle: Make) -> None:
    one = bundle({"root": {"path": "nowhere"}})
    assert create_fails(pyrun, one.path).startswith("root.path: ")


def test_rootfs_is_a_file(pyrun: Pyrun, bundle: Make) -> None:
    one = bundle({"root": {"path": "config.json"}})
    assert create_fails(pyrun, one.path).startswith("root.path: ")


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(path.parent)  # an address is short
        listener.bind(path.name)


def make_link(path: Path) -> None:
    path.symlink_to("nowhere")


def make_loop(path: Path) -> None:
    path.symlink_to(path.name)


def make_terminal(path: Path) -> None:
    path.symlink_to("/dev/tty")


def make_endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_proc(path: Path) -> None:
    path.symlink_to("/proc/self/mem")


def make_large(path: Path) -> None:
    path.write_bytes(b" " * (17 << 20))


def make_sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


@pytest.mark.parametrize(
    "make",
    [
        make_fifo,
        os.mkdir,
        make_socket,
        make_link,
        make_loop,
        make_terminal,
        make_endless,
        make_proc,
        make_large,
        make_sparse,
    ],
)
def test_config_is_no_file(
    make: Callable[[Path], None], pyrun: Pyrun, bundle: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = bundle()
    (one.path / "config.json").unlink()
    monkeypatch.chdir(one.path)
    make(one.path / "config.json")
    assert "config" in create_fails(pyrun, one.path)


@pytest.mark.parametrize("option", ["--pid-file", "--console-socket", "--pidfd-socket"])
@pytest.mark.parametrize("place", ["nowhere/x", "config.json/x", "config.json", ".", "", "/", "x" * 300])
def test_paths_of_options(option: str, place: str, pyrun: Pyrun, bundle: Make) -> None:
    one = bundle({"process": {"terminal": option == "--console-socket"}})
    before = sorted(os.listdir(one.path))
    if (option, place) in (("--pid-file", "config.json"), ("--pid-file", ""), ("--pidfd-socket", "")):
        return
    path = f"{one.path}/{place}" if place not in ("", "/") else place
    create_fails(pyrun, one.path, option, path)
    assert sorted(os.listdir(one.path)) == before


def test_config_option(pyrun: Pyrun, bundle: Make) -> None:
    one = bundle()
    assert "nowhere.json does not exist" in create_fails(pyrun, one.path, "--config", "nowhere.json")


@pytest.mark.parametrize(
    "kind", ["missing", "read-only", "file", "below a file", "loop", "long", "empty names"]
)
def test_root_folder(kind: str, pyrun: Pyrun, bundle: Make, tmp_path: Path) -> None:
    """--root that can't be written or made."""
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    roots = {
        "missing": "/proc/nowhere/root",
        "read-only": "/sys/fs",
        "file": f"{tmp_path}/file",
        "below a file": f"{tmp_path}/file/root",
        "loop": f"{tmp_path}/loop",
        "long": f"{tmp_path}/{'x' * 300}",
        "empty names": f"{tmp_path}//file",
    }
    one = bundle()
    container_id = new_id()
    for command in (["create", "--bundle", str(one.path), container_id], ["start", container_id]):
        sentence_of(run(pyrun, ["--root", roots[kind], *command]))
    nothing_made(pyrun, container_id)
    if kind not in ("loop", "long"):
        assert run(pyrun, ["--root", roots[kind], "delete", "--force", container_id]).returncode == 0
    # what can't be listed has no containers, or that is said
    assert run(pyrun, ["--root", roots[kind], "list"]).returncode in (0, 1)


def test_root_behind_links(pyrun: Pyrun, bundle: Make, tmp_path: Path) -> None:
    """A root folder by way of a symbolic link is nothing special."""
    (tmp_path / "link").symlink_to("real/deep")
    (tmp_path / "real/deep").mkdir(parents=True)
    one = bundle()
    container_id = new_id()
    root = f"{tmp_path}/link/root"
    pyrun.ok("--root", root, "run", "--bundle", str(one.path), container_id)
    assert os.listdir(root) == []


@pytest.mark.parametrize(
    "log", ["/proc/nowhere/log", "{}/file/log", "{}", "/proc/self/fd/9", "journald:pyrun"]
)
@pytest.mark.parametrize("command", [["list"], ["run"], ["create"], ["delete", "--force"]], ids=" ".join)
def test_log_that_cant_be_opened(
    log: str, command: list[str], pyrun: Pyrun, bundle: Make, tmp_path: Path
) -> None:
    """It is an error before anything is done, since engines read errors there alone."""
    (tmp_path / "file").write_text("")
    one = bundle(sh="echo ran")
    arguments = [] if command == ["list"] else [new_id()]
    ended = run(pyrun, ["--log", log.format(tmp_path), *command, *arguments], cwd=one.path, close_fds=True)
    assert sentence_of(ended).startswith("--log: ")
    assert ended.stdout == b""
    assert not pyrun.root.exists()


def test_full_log(pyrun: Pyrun, bundle: Make) -> None:
    """Nothing is changed by it but the last words of a failure: who is to clear up must be able to."""
    ended = run(pyrun, ["--log", "/dev/full", "run", "--bundle", str(bundle().path), new_id()])
    assert (ended.returncode, ended.stderr) == (0, b"")
    sentence = sentence_of(run(pyrun, ["--log", "/dev/full", "start", new_id()]))
    assert "does not exist (the log can't be written: " in sentence


def test_log_is_a_fifo(pyrun: Pyrun, tmp_path: Path) -> None:
    """Nobody reads it: that must not keep us waiting."""
    os.mkfifo(tmp_path / "log")
    sentence = sentence_of(run(pyrun, ["--log", str(tmp_path / "log"), "start", new_id()]))
    assert sentence.startswith("--log: ")


@pytest.mark.parametrize("closed", [0, 1])
def test_closed_streams_without_dev_null(closed: int, pyrun: Pyrun, tmp_path: Path) -> None:
    """Where nothing can take a closed stream's place, one sentence names both."""
    needs.program("unshare", "mount")
    script = 'mount -t tmpfs none /dev && exec "$0" "$@"'
    wrapper = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    argv = [*wrapper, str(pyrun.runtime), "--root", str(pyrun.root), "list"]
    with (tmp_path / "stderr").open("w+b") as err:
        ended = subprocess.run(
            ["sh", "-c", f'exec {closed}>&-; exec "$@"', "sh", *argv], stderr=err, check=False, timeout=20
        )
        err.seek(0)
        ended.stderr = err.read()
    name = ("standard input", "standard output")[closed]
    assert (
        sentence_of(ended)
        == f"{name} is closed, and /dev/null can't take its place: /dev/null: does not exist"
    )


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2)])
def test_closed_streams(closed: tuple[int, ...], pyrun: Pyrun, bundle: Make) -> None:
    one = bundle(sh="echo out; echo err >&2; cat; ls /proc/self/fd > /tmp/fds")

    def close() -> None:
        for fd in closed:
            os.close(fd)

    ended = run(pyrun, ["run", "--bundle", str(one.path), new_id()], preexec_fn=close)
    assert ended.returncode in (0, 1)
    assert b"internal error" not in ended.stderr
    for command in (["list"], ["state", "none"], ["--version"], ["start", "none"]):
        ended = run(pyrun, command, preexec_fn=close)
        assert ended.returncode in (0, 1)
        assert b"internal error" not in ended.stderr


@pytest.mark.parametrize("stream", ["pipe", "full"])
@pytest.mark.parametrize("command", ["list", "state", "--version", "help", "features"])
def test_output_that_cant_be_written(stream: str, command: str, pyrun: Pyrun, bundle: Make) -> None:
    """A reader that is gone, or a full disk: no traceback, and a failure where something is lost."""
    container = pyrun.create(bundle())
    arguments = [command, container.id] if command == "state" else [command]
    if stream == "pipe":
        reader, writer = os.pipe()
        os.close(reader)
    else:
        writer = os.open("/dev/full", os.O_WRONLY)
    ended = run(pyrun, arguments, stdout=writer)
    os.close(writer)
    assert b"Traceback" not in ended.stderr
    assert b"internal error" not in ended.stderr
    assert len(ended.stderr.splitlines()) <= 1
    if stream == "full":
        assert ended.returncode == 1
        sentence_of(ended)
    else:
        assert ended.returncode in (0, 1, -signal.SIGPIPE)
    container.delete("--force")


def test_error_stream_that_cant_be_written(pyrun: Pyrun) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    for restore in (True, False):  # with SIGPIPE deadly, and ignored
        ended = run(pyrun, ["start", "none"], stderr=writer, restore_signals=restore)
        assert ended.returncode in (1, -signal.SIGPIPE)
    os.close(writer)


def test_signals_ignored_by_the_caller(pyrun: Pyrun, bundle: Make, tmp_path: Path) -> None:
    """SIGCHLD ignored: the kernel reaps children by itself, and waits find none."""
    one = bundle({"process": {"args": ["sh", "-c", "exit 3"]}})
    for kind in ("createRuntime", "createContainer", "poststart", "poststop"):
        one.hook(kind, f"echo {kind} >> {tmp_path}/hooks")
    one.hook("startContainer", "exit 0")
    one.write()

    def ignore() -> None:
        for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)

    ended = run(pyrun, ["run", "--bundle", str(one.path), new_id()], preexec_fn=ignore)
    assert (ended.returncode, ended.stderr) == (3, b"")
    assert (tmp_path / "hooks").read_text().split() == [
        "createRuntime",
        "createContainer",
        "poststart",
        "poststop",
    ]
    one.hook("createRuntime", "exit 5").write()
    container_id = new_id()
    ended = run(pyrun, ["create", "--bundle", str(one.path), container_id], preexec_fn=ignore)
    assert "hooks.createRuntime[1]: /bin/sh exited with status 5" in sentence_of(ended)
    nothing_made(pyrun, container_id)


def test_few_descriptors(pyrun: Pyrun, bundle: Make) -> None:
    """RLIMIT_NOFILE so low that create runs out of them: whatever it is that fails."""
    one = bundle()
    for limit in range(3, 24):

        def lower(limit: int = limit) -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, 4096))

        container_id = new_id()
        ended = run(pyrun, ["run", "--bundle", str(one.path), container_id], preexec_fn=lower)
        if ended.returncode != 0:
            sentence_of(ended)
        nothing_made(pyrun, container_id)


def test_little_memory(pyrun: Pyrun, bundle: Make) -> None:
    """RLIMIT_AS: out of memory is a sentence too, or the end of the process, and nothing is left."""
    one = bundle()
    for mebibytes in (12, 16, 17, 18, 19, 20, 24, 32):

        def lower(size: int = mebibytes << 20) -> None:
            resource.setrlimit(resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))

        container_id = new_id()
        ended = run(pyrun, ["run", "--bundle", str(one.path), container_id], preexec_fn=lower)
        assert b"Traceback" not in ended.stderr
        assert b"internal error" not in ended.stderr
        if ended.returncode == 1:
            sentence_of(ended)
        run(pyrun, ["delete", "--force", container_id])
        nothing_made(pyrun, container_id)


def test_full_disk(pyrun: Pyrun, bundle: Make, tmp_path: Path) -> None:
    """The state's file system has no space, or no inodes, at any moment of create."""
    needs.program("unshare", "mount")
    one = bundle()
    script = f"""
        set -u
        mkdir -p {tmp_path}/small
        for size in nr_inodes=2 nr_inodes=3 nr_inodes=4 nr_inodes=5 nr_inodes=6 size=4k size=8k; do
            mount -t tmpfs -o $size tmpfs {tmp_path}/small
            test $size = size=4k && head -c 4096 /dev/zero > {tmp_path}/small/filler
            test $size = size=8k && head -c 4096 /dev/zero > {tmp_path}/small/filler
            {pyrun.runtime} --root {tmp_path}/small/root run --bundle {one.path} "$0" < /dev/null
            echo "status $?" >&2
            ls -A {tmp_path}/small/root >&2 2> /dev/null
            umount {tmp_path}/small
        done
    """
    container_id = new_id()
    ended = subprocess.run(
        ["unshare", "-m", "--propagation", "private", "sh", "-c", script, container_id],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    lines = ended.stderr.decode().splitlines()
    assert lines.count("status 1") >= 3, lines
    assert all(line in ("status 0", "status 1") or line.startswith("pyrun: ") for line in lines), lines
    assert lines.count("status 1") == len([line for line in lines if line.startswith("pyrun: ")])
    assert "internal error" not in str(lines)
    nothing_made(pyrun, container_id)


IDS = st.one_of(
    st.text(max_size=8),
    st.text(st.sampled_from("aZ09_+-. /\\\n\t~*é\x7f\x1b"), max_size=12),
    st.sampled_from(
        [
            ".",
            "..",
            "...",
            ".a",
            "a" * 255,
            "a" * 256,
            "-",
            "--",
            "a/b",
            "../a",
            "a/..",
            "/",
            "",
            os.fsdecode(b"\xed\xa0\x80"),
        ]
    ),
    st.binary(max_size=6).map(os.fsdecode),
).filter(lambda text: "\0" not in text)


@examples(120)
@given(IDS, st.sampled_from(["create", "start", "state", "kill", "delete", "run"]))
def test_ids(pyrun: Pyrun, tmp_path: Path, container_id: str, command: str) -> None:
    """Any id, of no container: with a bundle that isn't there, all that can come is a sentence."""
    options = ["--bundle", str(tmp_path / "none")] if command in ("create", "run") else []
    argument = os.fsencode(container_id)
    sentence = fails(pyrun, [command, *options, "--", argument])
    valid = container_id.isascii() and container_id.translate(str.maketrans("_+-.", "aaaa")).isalnum()
    if not valid:
        assert "is not valid" in sentence


WORDS = st.one_of(
    st.sampled_from(
        [
            "create",
            "start",
            "run",
            "delete",
            "list",
            "kill",
            "spec",
            "validate",
            "--root",
            "--bundle",
            "-b",
            "--log",
        ]
    ),
    st.sampled_from(
        ["--", "-", "", "-f", "--force", "--format", "json", "--preserve-fds", "-1", "99999999999", "9"]
    ),
    st.sampled_from(
        ["--log-format", "--log-level", "--debug", "--nonsense", "--bundle=x", "--force=1", "--root="]
    ),
    st.text(max_size=6).filter(lambda text: "\0" not in text),
    st.binary(max_size=6).filter(lambda data: b"\0" not in data).map(os.fsdecode),
)


@pytest.mark.slow
@examples(60)
@given(st.lists(WORDS, max_size=6))
def test_any_words(pyrun: Pyrun, tmp_path: Path, words: list[str]) -> None:
    """Any command line, in a folder without a bundle: it works, or says in few lines why not."""
    argv = [os.fsencode(word) for word in words]
    ended = run(pyrun, argv, cwd=tmp_path)
    assert ended.returncode in (0, 1), ended
    assert b"Traceback" not in ended.stderr, ended
    assert b"internal error" not in ended.stderr, ended
    if ended.returncode == 1:
        assert ended.stderr.startswith(b"pyrun: ") or ended.stdout, ended
