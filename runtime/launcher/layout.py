"""Where the snapshot's objects lie: those that commands write to, together (rows.c says why).

The program runs twice while it is built. The first time it tells which objects commands write to (mark.py), for the
functions that commands are known to call (functions.txt); the second time it is told so. Both times it allocates the
same blocks in the same order, so that their numbers say which is which.
"""

from __future__ import annotations

import ast
import bisect
import struct
from pathlib import Path
from typing import NamedTuple

import freeze

LAUNCHER = Path(__file__).resolve().parent
#: The functions that commands call, a line each: the row, the file, the name.
FUNCTIONS = LAUNCHER / "functions.txt"
OF_IMPORT = "<frozen importlib._bootstrap> _handle_fromlist"  # what is left of the import statement
ROWS = {"heavy": 3, "hot": 4}
TO_READ = {3: 1, 4: 2}
HEADER, UNIT, FREE = 8, 16, -1
LARGE = 8192  # what is larger isn't read as a whole


class Block(NamedTuple):
    """A block of Python's memory; number says which allocation made it, FREE that none has it."""

    start: int
    size: int
    number: int


class Snapshot(NamedTuple):
    """What the program wrote: marks, where the interpreter's state and each row begin and end, and all its data,
    which lie at the address `base`."""

    marks: list[tuple[int, int]]
    busy: tuple[int, int]
    state: tuple[int, int]
    rows: list[tuple[int, int]]
    data: bytes
    base: int

    def words(self, start: int, end: int) -> tuple[int, ...]:
        """What may be pointers."""
        count = max((end - start) // 8, 0)
        return struct.unpack_from(f"<{count}Q", self.data, start - self.base)

    def blocks(self) -> list[Block]:
        """All blocks, by address."""
        found = []
        for start, end in self.rows:
            while start < end:
                size, number = struct.unpack_from("<Ii", self.data, start - self.base)
                found.append(Block(start + HEADER, size, number))
                start += (size + HEADER + UNIT - 1) // UNIT * UNIT
        return sorted(found)


def parse(output: bytes, size: int, base: int) -> Snapshot:
    """The output of a program with `size` bytes of data at the address `base`; ValueError if it is something else."""
    text, data = output[:-size].decode(), output[-size:]
    if len(data) != size:
        raise ValueError(f"the snapshot has {len(output)} bytes, its section {size}")
    *marks, last = text.splitlines()
    word, *ends = last.split()
    if word != "rows":
        raise ValueError(f"the snapshot says {last!r}")
    numbers = [int(each, 16) for each in ends]
    return Snapshot(
        [(int(row), int(address)) for row, address in map(str.split, marks)],
        (numbers[0], numbers[1]),
        (numbers[1], numbers[2]),
        list(zip(numbers[3::2], numbers[4::2], strict=True)),
        data,
        base,
    )


def script() -> str:
    """The program that marks objects: mark.py, with the functions that commands call."""
    path = LAUNCHER / "mark.py"
    lines = [line.split(" ", 1) for line in FUNCTIONS.read_text().splitlines()]
    functions = {name: ROWS[row] for row, name in [*lines, ("hot", OF_IMPORT)]}
    return f"{ast.unparse(freeze.strip(path.read_text(), path.name))}\nrows.update({functions!r})\nmain()\n"


def rows_by_number(snapshot: Snapshot) -> bytes:
    """For each allocation, the row that it belongs in: of what is marked, and of what that leads to directly."""
    blocks = [block for block in snapshot.blocks() if block.number != FREE]
    starts = [block.start for block in blocks]

    def find(address: int) -> Block | None:
        at = bisect.bisect(starts, address) - 1
        return blocks[at] if at >= 0 and address < blocks[at].start + blocks[at].size else None

    rows = bytearray(max(block.number for block in blocks) + 1)

    def mark(address: int, row: int) -> Block | None:
        block = find(address)
        if block:
            rows[block.number] = max(rows[block.number], row)
        return block

    for address in snapshot.words(*snapshot.state):
        mark(address, ROWS["hot"])
    for row, address in snapshot.marks:
        mark(address, row)
    sources = [(block, TO_READ[rows[block.number]]) for block in blocks if rows[block.number] in TO_READ]
    for address in snapshot.words(*snapshot.busy):
        block = mark(address, TO_READ[ROWS["hot"]])
        if block and block.size < LARGE:
            sources.append((block, TO_READ[ROWS["hot"]]))
    for block, row in sources:  # by its first two words the garbage collector goes
        for address in snapshot.words(block.start + 16, block.start + block.size):
            mark(address, row)
    return bytes(rows)


def are_alike(first: Snapshot, second: Snapshot) -> bool:
    """Whether nearly every number stands for the same block in both, so far as one can see.

    Not each: what goes by addresses, such as a set of classes, may come in another order, and a cache may hold
    something else.
    """
    one, other = ({block.number: block.size for block in each.blocks()} for each in (first, second))
    same = sum(other.get(number) == size for number, size in one.items() if number != FREE)
    return same > 0.99 * len(one.keys() - {FREE})
