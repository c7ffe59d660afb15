"""Writing limits that the kernel checks against each other, and the sentence for those that it refuses."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrun.base.errors import PyrunError, render
from pyrun.cgroups import files


class Memory:
    """The kernel's rule for v1: the limit is never above the limit of memory and swap."""

    def __init__(self, limit: int, both: int) -> None:
        self.values = {"limit": limit, "both": both}

    def put(self, _directory: str, name: str, value: str) -> None:
        values = {**self.values, name: int(value)}
        if values["limit"] > values["both"]:
            raise OSError(errno.EINVAL, "")
        self.values = values


@given(st.tuples(*[st.integers(0, 9)] * 4))
def test_any_order_of_raising_and_lowering(numbers: tuple[int, int, int, int]) -> None:
    old_limit, old_swap, limit, swap = numbers
    memory = Memory(old_limit, old_limit + old_swap)
    put, files.put = files.put, memory.put
    try:
        files.write_all("", [("limit", str(limit), "", False), ("both", str(limit + swap), "", False)])
    finally:
        files.put = put
    assert memory.values == {"limit": limit, "both": limit + swap}


def test_what_stays_invalid_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "put", Memory(1, 1).put)
    with pytest.raises(PyrunError) as caught:
        files.write_all("/cg", [("limit", "5", "m.limit", False), ("both", "4", "m.swap", False)])
    assert render(caught.value) == (
        "m.limit: writing 5 to limit of /cg: Invalid argument (the kernel takes no such value there)"
    )


def test_a_missing_file_is_named_without_an_engines_words(tmp_path: object) -> None:
    with pytest.raises(PyrunError) as caught:
        files.write(str(tmp_path), "memory.memsw.limit_in_bytes", "4096", "linux.resources.memory.swap")
    assert render(caught.value) == (
        f"linux.resources.memory.swap: writing 4096 to memory.memsw.limit_in_bytes of {tmp_path}: "
        "does not exist (this kernel has no memory.memsw.limit_in_bytes: it doesn't account for swap; boot with "
        "swapaccount=1, or set no limit of swap)"
    )
    files.write(str(tmp_path), "cpu.idle", "0", "", optional=True)
    files.write_all(str(tmp_path), [("cpu.idle", "0", "", True)])
    with pytest.raises(PyrunError):
        files.write_all(str(tmp_path), [("cpu.idle", "1", "", False)])
