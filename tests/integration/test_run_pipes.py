"""`run --pipes`: the program's streams are pipes of run's own, so that they end with `run`, whatever ends it."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import termios

import pytest
from bundles import eventually

WRITABLE = {"root": {"readonly": False}}


def unread(pipe):
    """How many bytes are in it."""
    return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0]


def test_all_of_the_streams_pass(pyrun, bundle):
    """Input, output and errors arrive whole, whatever their size, and the exit status is the program's."""
    one = bundle(sh="cat; echo problem >&2; exit 5")
    data = os.urandom(1 << 20)
    container_id = pyrun.id()
    process = pyrun.popen(
        "run",
        "--pipes",
        "--bundle",
        str(one.path),
        container_id,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = process.communicate(data, timeout=30)
    assert (process.returncode, err) == (5, b"problem\n")
    assert out == data


def test_the_program_has_pipes_of_its_own(pyrun, bundle, tmp_path):
    """What the caller's streams are (here files, which the program could seek in or truncate) it can't see."""
    one = bundle(sh="for fd in 0 1 2; do readlink /proc/self/fd/$fd; done")
    for line in pyrun.output(one, "--pipes").split():
        assert line.startswith("pipe:["), line
    assert not [line for line in pyrun.output(one).split() if line.startswith("pipe:[")]


def test_the_callers_streams_end_when_run_is_killed(pyrun, bundle):
    """SIGKILL of `run` ends what its caller reads at once, and the program's input; the program is left, as under
    runc, to whoever deletes it."""
    one = bundle(WRITABLE, sh="cat > /dev/null; echo eof > /got-eof; exec sleep 1000")
    container_id = pyrun.id()
    process = pyrun.popen(
        "run",
        "--pipes",
        "--bundle",
        str(one.path),
        container_id,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    eventually(lambda: (pyrun.root / container_id).exists(), "no container")
    eventually(lambda: pyrun.state(container_id)["status"] == "running", "it doesn't run")
    process.send_signal(signal.SIGKILL)
    try:
        out, _ = process.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        pyrun("delete", "--force", container_id)
        process.communicate()
        raise
    assert out == b""
    eventually(lambda: (one.rootfs / "got-eof").exists(), "its standard input doesn't end")
    assert pyrun.state(container_id)["status"] == "running"
    pyrun.ok("delete", "--force", container_id)


def test_signals_pass_while_nobody_reads(pyrun, bundle):
    """A caller that reads nothing doesn't keep `run` from passing a signal on."""
    one = bundle(WRITABLE, sh="trap 'echo got > /got; exit 6' TERM; yes & while :; do wait; done")
    container_id = pyrun.id()
    reading, writing = os.pipe()
    process = pyrun.popen(
        "run", "--pipes", "--bundle", str(one.path), container_id, stdout=writing, stderr=writing
    )
    os.close(writing)
    size = fcntl.fcntl(reading, fcntl.F_GETPIPE_SZ)
    eventually(lambda: unread(reading) == size, "the caller's pipe isn't full")
    process.send_signal(signal.SIGTERM)
    eventually((one.rootfs / "got").exists, "the signal doesn't reach the program")
    while os.read(reading, 65536):
        pass
    os.close(reading)
    assert process.wait(10) == 6


def test_a_reader_that_goes_away_is_known_to_the_program(pyrun, bundle):
    """The program gets SIGPIPE, as if it had written to the caller's pipe."""
    one = bundle(WRITABLE, sh="yes; echo $? > /status")
    container_id = pyrun.id()
    reading, writing = os.pipe()
    process = pyrun.popen(
        "run", "--pipes", "--bundle", str(one.path), container_id, stdout=writing, stderr=subprocess.DEVNULL
    )
    os.close(writing)
    assert os.read(reading, 2) == b"y\n"
    os.close(reading)
    assert process.wait(20) == 0
    assert (one.rootfs / "status").read_text() == f"{128 + signal.SIGPIPE}\n"


def test_input_that_nobody_reads(pyrun, bundle):
    """A program that reads nothing is passed more than a pipe takes: `run` ends with it all the same."""
    one = bundle(sh="exit 4")
    container_id = pyrun.id()
    with open("/dev/zero", "rb") as zeros:
        result = pyrun("run", "--pipes", "--bundle", str(one.path), container_id, stdin=zeros)
    assert (result.code, result.err) == (4, "")


def test_errors_of_run_itself_are_seen(pyrun, bundle):
    """A create that fails says so on the caller's stderr, warnings first."""
    one = bundle()
    one.config["process"]["capabilities"]["bounding"].append("CAP_NOT_KNOWN")
    one.args("/no/such/program")
    result = pyrun.run(one.write(), "--pipes")
    assert result.code == 1
    assert "CAP_NOT_KNOWN" in result.err
    assert '"/no/such/program": no such file or directory' in result.err


@pytest.mark.parametrize("option", [(), ("--console-socket", "/none")], ids=["joined", "sent"])
def test_not_with_a_terminal(pyrun, bundle, option):
    """A terminal and pipes can't both be the program's streams."""
    one = bundle({"process": {"terminal": True}})
    container_id = pyrun.id()
    sentence = pyrun.error("run", "--pipes", *option, "--bundle", str(one.path), container_id)
    assert sentence == "process.terminal: --pipes is for a program without a terminal (set it to false)"
    pyrun.assert_gone(container_id)


def test_not_in_the_background(pyrun, bundle):
    """With --detach nobody would copy."""
    container_id = pyrun.id()
    sentence = pyrun.error("run", "--pipes", "--detach", "--bundle", str(bundle().path), container_id)
    assert sentence == "--pipes: with --detach nobody is there to copy"
    pyrun.assert_gone(container_id)


@pytest.mark.parametrize("closed", ["stdin", "stdout", "stderr"])
def test_closed_streams(pyrun, bundle, closed):
    """A caller without one of the three."""
    one = bundle(sh="cat; exit 3")
    number = ("stdin", "stdout", "stderr").index(closed)
    container_id = pyrun.id()
    process = pyrun.popen(
        "run",
        "--pipes",
        "--bundle",
        str(one.path),
        container_id,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.close(number),
    )
    assert process.wait(20) == 3
