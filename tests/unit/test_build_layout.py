"""Where the snapshot's objects lie: what is marked, and what that leads to, by the numbers of their allocations."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "runtime/launcher"))

import layout  # noqa: E402

BASE, COLD_AT = 0x10000, 0x10020
HEAVY_READ, READ, HEAVY, HOT = 1, 2, 3, 4


def _snapshot(
    *blocks: tuple[int, list[int]], marks: str = "", busy: int = 0, state: int = 0
) -> layout.Snapshot:
    """A snapshot whose cold row has blocks, by the number of each and its words; `busy` and `state` have one word."""
    data, at = struct.pack("<QQQQ", busy, state, 0, 0)[:32], b""
    for number, words in blocks:
        body = struct.pack(f"<Ii{len(words)}Q", len(words) * 8, number, *words)
        at += body + bytes(-len(body) % layout.UNIT)
    data += at
    ends = [BASE, BASE + 8, BASE + 16, COLD_AT, COLD_AT + len(at)]
    text = marks + "rows " + " ".join(map(hex, ends)) + "\n"
    return layout.parse(text.encode() + data, len(data), BASE)


def _address(*lengths: int) -> int:
    """Where the block behind those with so many words begins."""
    return COLD_AT + layout.HEADER + sum((8 * n + layout.HEADER + 15) // 16 * 16 for n in lengths)


def test_blocks_are_found_by_their_headers() -> None:
    blocks = _snapshot((7, [1]), (-1, [1, 2, 3]), (9, [])).blocks()
    assert [(each.number, each.size) for each in blocks] == [(7, 8), (-1, 24), (9, 0)]
    assert [each.start for each in blocks] == [_address(), _address(1), _address(1, 3)]


@pytest.mark.parametrize(("row", "read"), [(HOT, READ), (HEAVY, HEAVY_READ)])
@pytest.mark.parametrize("inside", [0, 16], ids=["begin", "behind the collector's head"])
def test_what_is_marked_is_written_to_and_what_it_names_is_read(row: int, read: int, inside: int) -> None:
    """An object begins where its block does or a little later; the first two words aren't what it leads to."""
    third = _address(3, 4)
    snapshot = _snapshot(
        (0, [third, third, 0]),
        (1, [third, third, third, 0]),
        (2, [0]),
        (3, [0]),
        marks=f"{row} {_address(3) + inside}\n",
    )
    assert list(layout.rows_by_number(snapshot)) == [0, row, read, 0]


def test_the_hotter_row_wins() -> None:
    marks = f"{HEAVY} {_address()}\n{HOT} {_address()}\n{HEAVY} {_address()}\n"
    assert list(layout.rows_by_number(_snapshot((0, [0, 0, _address(3)]), (1, [0]), marks=marks))) == [
        HOT,
        READ,
    ]


def test_what_the_interpreters_state_leads_to_is_hot_and_what_other_data_lead_to_is_read() -> None:
    snapshot = _snapshot((0, [0]), (1, [0, 0, _address(1, 3)]), (2, [0]), busy=_address(1), state=_address())
    assert list(layout.rows_by_number(snapshot)) == [HOT, READ, READ]


def test_a_free_block_belongs_nowhere() -> None:
    snapshot = _snapshot((-1, [0]), (3, [0]), marks=f"{HOT} {_address()}\n{HOT} 12\n")
    assert list(layout.rows_by_number(snapshot)) == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "output", [b"", b"rows\n", b"hot air 1 2 3 4 5\n" + bytes(64), b"x rows\n" + bytes(64)]
)
def test_another_output_is_refused(output: bytes) -> None:
    with pytest.raises(ValueError, match=r"snapshot|literal|unpack|index"):
        layout.parse(output, 64, BASE)


def test_two_snapshots_are_alike_if_nearly_every_number_has_its_size() -> None:
    first = _snapshot((0, [0]), (-1, [0, 0]), (1, [0, 0, 0]))
    assert layout.are_alike(first, _snapshot((1, [1, 2, 3]), (0, [9])))
    assert not layout.are_alike(first, _snapshot((1, [1, 2]), (0, [9])))
    assert not layout.are_alike(first, _snapshot((0, [9])))
    many = [(number, [0]) for number in range(1000)]
    assert layout.are_alike(_snapshot(*many), _snapshot(*many[1:]))
    assert not layout.are_alike(_snapshot(*many), _snapshot(*many[:980]))


def test_the_list_names_rows_and_functions() -> None:
    lines = layout.FUNCTIONS.read_text().splitlines()
    assert lines == sorted(set(lines), key=lambda line: line.partition(" ")[2])
    for line in lines:
        row, path, _ = line.split(" ", 2)
        assert row in layout.ROWS
        assert path.endswith(".py")
