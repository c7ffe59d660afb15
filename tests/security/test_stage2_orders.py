"""Stage 2 refuses orders that make no sense, all of them before it obeys the first, and never crashes over them.

It is run as the runtime runs it, out of a memfd, but as nobody in a PID namespace of its own, since an order can be any
system call. Calls that are ordered here are harmless ones.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pyrun.base.built import STAGE2
from pyrun.kernel import process, stage2
from pyrun.story import orders

NOBODY = 65534
REPORTS = 40  # the descriptors that stage 2 finds
ORDERS = 41
WITNESS = 42
ANY_NUMBER = st.one_of(
    st.integers(0, 9), st.sampled_from([2**31, 2**32 - 1, 2**63, 2**64 - 1]), st.integers(0, 2**64 - 1)
)
HARMLESS = [stage2.NR_UMASK, 2**20, 2**63, 2**64 - 1]  # the others are no calls at all
LABEL = b"a.b\0doing it\0"


@dataclass
class Outcome:
    """How stage 2 ended: exit status or minus the signal, its reports, and what it wrote to the witness."""

    status: int
    reports: list[bytes]
    witness: bytes

    def refused(self, number: int) -> bool:
        """Did it refuse the order of this number, and do nothing?"""
        kind, index, error, size, said = (
            struct.unpack("=IIiII", self.reports[-1]) if self.reports else (0,) * 5
        )
        return (self.status, kind, index, error, size, said, self.witness) == (
            1, stage2.FAILED, number, 22, 0, 0, b"",
        )  # fmt: skip


class Machine:
    """Runs stage 2 on bytes as orders."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.chmod(0o755)

    def run(self, data: bytes) -> Outcome:
        """Stage 2 with these bytes as the file of orders."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        program = os.memfd_create("stage2")
        os.write(program, STAGE2)
        os.fchmod(program, 0o555)
        executed = os.open(f"/proc/self/fd/{program}", os.O_RDONLY)
        os.close(program)
        file, witness = os.memfd_create("orders"), os.memfd_create("witness")
        os.write(file, data)
        pid = process.clone3(process.CLONE_NEWPID | process.CLONE_NEWIPC)
        if pid == 0:
            try:
                for fd, number in ((theirs.fileno(), REPORTS), (file, ORDERS), (witness, WITNESS)):
                    os.dup2(fd, number)
                self._become_nobody()
                process.execveat(executed, "", ["program"], [str(ORDERS), f"LISTEN_PID={10**15}"])
            finally:
                os._exit(99)
        for fd in (executed, file):
            os.close(fd)
        theirs.close()
        reports = []
        ours.settimeout(60)
        while report := ours.recv(1 << 16):
            reports.append(report)
        ours.close()
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        written = os.pread(witness, 100, 0)
        os.close(witness)
        return Outcome(status, reports, written)

    def _become_nobody(self) -> None:
        os.chdir(self.folder)
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        signal.alarm(50)


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """Stage 2, to be run again and again."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to run a program as nobody in a PID namespace")
    return Machine(tmp_path_factory.mktemp("nobody"))


def order(kind: int, numbers: list[int], data: bytes = b"", label: bytes = LABEL) -> bytes:
    """One order as bytes, whatever it says."""
    one = orders.Orders()
    one.add(kind, numbers, data, label)
    return one.finish(0)[16:]


def file_of(body: bytes, size: int | None = None) -> bytes:
    """The file of orders."""
    return struct.pack("=QQ", len(body) + 16 if size is None else size, REPORTS) + body


# An order that would leave a trace.
TRACE = order(stage2.WRITE, [WITNESS, 0], b"obeyed")
END = order(stage2.EXECUTE, [])
TEXT = b"/nothing\0"
SENSIBLE: dict[str, tuple[int, list[int], bytes]] = {
    "call": (stage2.CALL, [stage2.NR_UMASK, 0, 0o22], b""),
    "call-each": (stage2.CALL_EACH, [3, stage2.NR_UMASK, 0, 0], b""),
    "write": (stage2.WRITE, [WITNESS, 0], b"text"),
    "write-below": (stage2.WRITE, [2**64 - 100, len(TEXT)], TEXT + b"text"),
    "enter": (stage2.ENTER, [], b"/\0"),
    "inside": (stage2.INSIDE, [], b""),
    "find": (stage2.FIND, [], TEXT + b"/bin/true\0"),
    "filter": (stage2.FILTER, [0], struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000)),
    "early": (stage2.EARLY, [0, 0, 0], b""),
    "birth": (stage2.BIRTH, [], b""),
    "listen-pid": (stage2.LISTEN_PID, [], b""),
    "wait": (stage2.WAIT, [REPORTS, REPORTS], b""),
    "state": (stage2.STATE, [0], b"1000000000000000 and more"),
    "hook": (stage2.HOOK, [1, 1, 1], b"/nothing\0nothing\0A=b\0"),
    "going": (stage2.GOING, [], b""),
    "load": (stage2.LOAD, [], b""),
    "give": (stage2.GIVE, [], b""),
    "execute": (stage2.EXECUTE, [], b""),
}
KINDS = range(stage2.CALL, stage2.EXECUTE + 1)
NEEDS_LABEL = "enter inside find filter early birth hook execute".split()


def head(kind: int, numbers: int, label: int, data: int) -> bytes:
    """The head of an order alone."""
    return struct.pack("=QQ", kind << 32 | numbers, label << 32 | data)


NONSENSE: dict[str, bytes] = {
    "half a head": struct.pack("=Q", stage2.CALL << 32 | 2),
    "kind 0": order(0, []),
    "kind after the last": order(stage2.EXECUTE + 1, []),
    "huge count": head(stage2.CALL, 2**32 - 1, 0, 0),
    "huge label": head(stage2.CALL, 0, 2**32 - 1, 0),
    "huge data": head(stage2.CALL, 0, 0, 2**32 - 1),
    "all huge": head(stage2.CALL, *[2**32 - 1] * 3),
    "data past the end": head(stage2.WRITE, 2, 0, 8) + struct.pack("=QQ", WITNESS, 0),
    "long label": order(stage2.CALL, [stage2.NR_UMASK, 0], label=b"x" * 1025),
    "pointer past the data": order(stage2.CALL, [stage2.NR_UMASK, 1, 8], bytes(8)),
    "pointer into nothing": order(stage2.CALL, [stage2.NR_UMASK, 1, 0]),
    "seven arguments": order(stage2.CALL, [stage2.NR_UMASK, 0, *range(7)]),
    "no such argument": order(stage2.CALL_EACH, [1, stage2.NR_UMASK, 6]),
    "path past the data": order(stage2.WRITE, [WITNESS, 9], b"/\0"),
    "path without end": order(stage2.WRITE, [WITNESS, 4], b"path and text"),
    "folder without end": order(stage2.ENTER, [], b"/"),
    "two folders": order(stage2.ENTER, [], b"/\0/\0"),
    "no path": order(stage2.FIND, []),
    "filter of nothing": order(stage2.FILTER, [0]),
    "half an instruction": order(stage2.FILTER, [0], bytes(12)),
    "filter of 65536": order(stage2.FILTER, [0], bytes(8 * 65536)),
    "pid past the state": order(stage2.STATE, [10], b"{} and 16 bytes more"),
    "pid far past the state": order(stage2.STATE, [2**64 - 8], bytes(32)),
    "pid in an empty state": order(stage2.STATE, [0]),
    "hook without an argument": order(stage2.HOOK, [0, 1, 1], b"/nothing\0nothing\0"),
    "hook with one more": order(stage2.HOOK, [0, 0, 0], b"/nothing\0nothing\0"),
    "hook of many": order(stage2.HOOK, [0, 2**64 - 1, 1], b"/nothing\0"),
    "hook without end": order(stage2.HOOK, [0, 0, 0], b"/nothing"),
    **{f"{name} without a label": order(*SENSIBLE[name], b"") for name in NEEDS_LABEL},
    **{
        f"{name} with a number less": order(kind, numbers[: {"call": 1, "call-each": 2}.get(name, -1)], data)
        for name, (kind, numbers, data) in SENSIBLE.items()
        if numbers
    },
    **{
        f"{name} with numbers more": order(kind, [*numbers, *[0] * 9], data)
        for name, (kind, numbers, data) in SENSIBLE.items()
    },
}


@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=[name.replace(" ", "-") for name in NONSENSE])
def test_nonsense_is_refused(machine, nonsense, before):
    """One order that makes no sense, and none is obeyed: the report says which it is."""
    outcome = machine.run(file_of(TRACE * before + nonsense))
    assert outcome.refused(before), outcome


def test_every_kind_of_order_is_tried():
    """The tests below know each kind that the header has."""
    assert {kind for kind, _, _ in SENSIBLE.values()} == set(KINDS)


@pytest.mark.parametrize("name", SENSIBLE)
def test_sense_is_obeyed(machine, name):
    """The same orders as they should be: what comes before them is obeyed."""
    outcome = machine.run(file_of(TRACE + order(*SENSIBLE[name]) + END))
    assert outcome.witness.startswith(b"obeyed"), outcome
    assert outcome.status in (0, 1, 255), outcome


@pytest.mark.parametrize(
    "damage",
    [
        lambda body: b"",
        lambda body: file_of(body)[:8],
        lambda body: file_of(body)[:-4],
    ],
    ids=["nothing", "half-a-head", "a-half-number"],
)
def test_a_file_that_is_none(machine, damage: Callable[[bytes], bytes]):
    """What can't be a file of orders is that of somebody who executes /proc/self/exe: it ends, and says nothing."""
    outcome = machine.run(damage(TRACE + END))
    assert (outcome.status, outcome.reports, outcome.witness) == (127, [], b"")


@pytest.mark.parametrize("size", [0, 16, 8 * 5, 2**32, 2**63, 2**64 - 1])
def test_a_wrong_size(machine, size):
    """The file's own word on its size must be the truth: it was cut otherwise."""
    assert machine.run(file_of(TRACE + END, size)).refused(0)


def test_the_end_is_the_program(machine):
    """Orders that end without a program are a failure."""
    outcome = machine.run(file_of(TRACE))
    assert (outcome.status, outcome.witness) == (1, b"obeyed")
    assert struct.unpack("=IIi", outcome.reports[-1][:12]) == (stage2.FAILED, 0, 8)


@given(
    label=st.binary(min_size=1, max_size=1024),
    kind=st.sampled_from([stage2.CALL, stage2.CALL_EACH, stage2.WRITE]),
)
def test_a_label_comes_back(machine, label, kind):
    """Whatever the label is, it comes back with the errno of the order that failed."""
    numbers = {
        stage2.CALL: [stage2.NR_CLOSE, 0, 2**31 - 1],
        stage2.CALL_EACH: [2**50, stage2.NR_CLOSE, 0, 0],
        stage2.WRITE: [2**31 - 1, 0],
    }[kind]
    outcome = machine.run(file_of(order(kind, numbers, b"text", label) + TRACE))
    number = 50 if kind == stage2.CALL_EACH else 0
    assert outcome.reports == [struct.pack("=IIiII", stage2.FAILED, number, 9, len(label), 0) + label]
    assert (outcome.status, outcome.witness) == (1, b"")


@st.composite
def wild(draw: st.DrawFn) -> bytes:
    """An order of a known kind with any numbers, labels and data; CALL and CALL_EACH call nothing that matters."""
    kind, numbers, data = draw(st.sampled_from(list(SENSIBLE.values())))
    numbers = draw(
        st.one_of(st.just(numbers), st.lists(ANY_NUMBER, min_size=len(numbers), max_size=len(numbers) + 2))
    )
    data = draw(st.one_of(st.just(data), st.binary(max_size=40), st.just(data * 3)))
    if kind == stage2.CALL and numbers:
        numbers = [draw(st.sampled_from(HARMLESS)), *numbers[1:]]
    if kind == stage2.CALL_EACH and len(numbers) > 1:
        numbers = [numbers[0], draw(st.sampled_from(HARMLESS)), *numbers[2:]]
    if kind == stage2.HOOK and numbers:
        numbers = [min(numbers[0], 1) or 1, *numbers[1:]]  # seconds
    return order(kind, numbers, data, draw(st.sampled_from([b"", LABEL])))


def calls_in(data: bytes) -> Iterator[int]:
    """Where a system call might be taken for ordered."""
    for at in range(16, len(data) - 7, 8):
        if struct.unpack_from("=Q", data, at)[0] >> 32 in (stage2.CALL, stage2.CALL_EACH):
            yield at


@given(st.lists(wild(), max_size=6))
def test_wild_orders(machine, several):
    """Any numbers in orders of any kind: stage 2 ends by itself."""
    assert machine.run(file_of(b"".join(several))).status >= 0


@given(st.lists(wild(), min_size=1, max_size=4), st.data())
def test_damaged_orders(machine, several, data):
    """Orders of which some bytes are other ones, or missing: stage 2 ends by itself."""
    damaged = bytearray(file_of(b"".join(several)))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(16, max(16, len(damaged) - 1)))
        damaged[at : at + 1] = data.draw(st.one_of(st.binary(min_size=1, max_size=1), st.just(b"")))
    damaged += bytes(-len(damaged) % 8)
    damaged[:8] = struct.pack("=Q", len(damaged))
    assume(not list(calls_in(bytes(damaged))))
    assert machine.run(bytes(damaged)).status >= 0


@given(st.binary(max_size=200))
def test_bytes(machine, data):
    """Any bytes at all: stage 2 ends by itself, and has done nothing."""
    data += bytes(-len(data) % 8)
    assume(not list(calls_in(file_of(data))))
    outcome = machine.run(file_of(data))
    assert outcome.status >= 0
    assert outcome.witness == b""


NAMES = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=30)


@given(NAMES, NAMES, NAMES, NAMES, st.integers(1, 40), st.integers(1, 40))
def test_a_label_becomes_a_sentence(path, words, sentence, hint, special, number):
    """JSON path and words of a label are those of the error; the label's own word on an errno takes precedence."""
    label = orders.label(path, words, "", [(special, sentence, hint)])
    report = struct.pack("=IIiII", stage2.FAILED, 0, number, len(label), 0) + label
    kind, error = orders.understand(report)
    assert kind == stage2.FAILED
    assert error is not None
    told = sentence if special == number and sentence else f"{words}: {os.strerror(number)}"
    assert (error.json_path, error.sentence, error.hint) == (path, told, hint if special == number else "")


def test_numbers_are_the_headers(tmp_path):
    """Python's numbers are those that the C compiler sees: nothing is kept in step by hand."""
    kernel = Path(process.__file__).parent
    source = tmp_path / "numbers.c"
    names = ["ORDER_CALL", "ORDER_EXECUTE", "REPORT_ENDED", "NR_umask"]
    prints = "".join(f'printf("%ld\\n", (long){name});' for name in names)
    source.write_text(
        "#include <stdio.h>\n#include <sys/ioctl.h>\n#include <sys/syscall.h>\n"
        f'#include "{kernel}/stage2_orders.h"\nint main(void) {{ {prints} }}\n'
    )
    subprocess.run(["cc", "-o", str(source.with_suffix("")), str(source)], check=True)
    out = subprocess.run([source.with_suffix("")], check=True, capture_output=True, text=True).stdout
    assert [int(line) for line in out.split()] == [stage2.CALL, stage2.EXECUTE, stage2.ENDED, stage2.NR_UMASK]
