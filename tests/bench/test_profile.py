"""The profile's tables say what was measured; no figure of this machine is asserted."""

from __future__ import annotations

from .profile import Account, Calls, parse_summary, table

SUMMARY = """% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 20.00    0.000200         100         2           read
 75.00    0.000750          50        15         3 openat
  5.00    0.000050          50         1           execve
------ ----------- ----------- --------- --------- ----------------
100.00    0.001000          55        18         3 total
"""


def test_a_summary_of_strace_is_read_the_longest_first() -> None:
    """Whether a line has errors or not; lines and sums aside."""
    calls = parse_summary(SUMMARY)
    assert calls.count == 18
    assert list(calls.seconds.items()) == [("openat", 0.00075), ("read", 0.0002), ("execve", 0.00005)]


def test_nothing_is_no_calls() -> None:
    assert parse_summary("") == Calls(0, {})


def test_a_table_has_a_line_for_each_runtime_and_its_longest_calls() -> None:
    rows = {"pyrun": Account(1.5, 0.25, 1, 300), "peer": Account(2, 1, 1, 400)}
    lines = table("state", rows, {"pyrun": parse_summary(SUMMARY)}).splitlines()
    assert lines[0].split() == ["state", "ms", "user", "system", "faults", "calls"]
    assert lines[1].split() == ["pyrun", "1.50", "0.25", "1.00", "300", "18"]
    assert lines[2].strip() == "openat 0.75, read 0.20, execve 0.05"
    assert lines[3].split() == ["peer", "2.00", "1.00", "1.00", "400", "-"]
