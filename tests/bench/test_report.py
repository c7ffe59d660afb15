"""The bench's page and chart say what was measured; no figure of this machine is asserted."""

from __future__ import annotations

import copy
import re
import xml.etree.ElementTree as ElementTree

import pytest

from .chart import WIDTH, svg
from .report import TARGETS, Mode, Report, limits, markdown, ms, ratio_table, size, slope, verdict

SVG = "{http://www.w3.org/2000/svg}"


def a_mode() -> Mode:
    """pyrun takes 10 ms for everything, runc 40 ms; pyrun's median isn't its mean."""
    rows = [target["row"] for target in TARGETS]
    return {
        "runtimes": {"pyrun": "pyrun version 1", "runc": "runc version 2"},
        "refusals": {"crun": "crun version 3: setrlimit (RLIM_MEMLOCK): Operation not permitted"},
        "times": {row: {"pyrun": [0.010, 0.008, 0.900], "runc": [0.040, 0.030, 0.050]} for row in rows},
        "cpu": {row: {"pyrun": [0.002] * 3, "runc": [0.008] * 3} for row in rows},
        "peak_rss": {row: {"pyrun": 5120, "runc": 10240} for row in rows},
        "created_pss": {"pyrun": 120, "runc": 8192},
        "growth": {
            row: {"1": {"pyrun": 0.010, "runc": 0.04}, "101": {"pyrun": 0.011, "runc": 0.05}}
            for row in ("create", "state", "list")
        },
        "mounts": {"1": {"pyrun": 0.010, "runc": 0.040}, "1001": {"pyrun": 0.020, "runc": 0.240}},
    }


def a_report() -> Report:
    return {
        "command": "make bench",
        "date": "2026-01-02",
        "machine": {"kernel": "6.1"},
        "load": 0.1,
        "rounds": 3,
        "tested": "pyrun",
        "modes": {"v1": a_mode()},
    }


def with_crun() -> Report:
    report = copy.deepcopy(a_report())
    mode = report["modes"]["v1"]
    mode["runtimes"]["crun"] = "crun version 3"
    for columns in (*mode["times"].values(), *mode["cpu"].values()):
        columns["crun"] = [0.008] * 3
    for sizes in mode["peak_rss"].values():
        sizes["crun"] = 2048
    mode["created_pss"]["crun"] = 800
    for points in (*mode["growth"].values(), mode["mounts"]):
        for columns_at in points.values():
            columns_at["crun"] = 0.008
    return report


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.1234, "123 ms"), (0.01234, "12.3 ms"), (0.001234, "1.23 ms")]
)
def test_ms(seconds: float, words: str) -> None:
    assert ms(seconds) == words


def test_size() -> None:
    assert (size(300), size(1536)) == ("300 KB", "1.5 MB")


def test_verdict_and_limits() -> None:
    assert verdict(0.30, 0.40, 0.30) == "stretch reached"
    assert verdict(0.40, 0.40, 0.30) == "reached"
    assert verdict(0.41, 0.40, 0.30) == "**missed**"
    assert verdict(0.41, None, None) == ""
    assert (limits(0.4, 0.3), limits(None, None)) == ("≤ 0.40 / 0.30", "")


def row(page: str, title: str) -> list[str]:
    """The cells of the first table row with this title."""
    line = next(line for line in page.splitlines() if line.startswith(f"| {title} |"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_ratio_of_medians() -> None:
    page = ratio_table(a_mode(), "pyrun")
    assert row(page, "run") == ["10.0 ms", "40.0 ms", "**0.25**", "≤ 0.40 / 0.30", "stretch reached"]
    assert row(page, "peak RSS of any command") == [
        "5.0 MB",
        "10.0 MB",
        "**0.50**",
        "≤ 0.80 / 0.60",
        "stretch reached",
    ]
    assert row(page, "a created container holds (PSS)") == [
        "120 KB",
        "8.0 MB",
        "0.015",
        "≤ 300 KB / 150 KB",
        "stretch reached",
    ]


def test_every_table_is_rectangular() -> None:
    for report in (a_report(), with_crun()):
        for block in re.findall(r"(?:^\|.*\n)+", markdown(report), re.MULTILINE):
            assert len({line.count("|") for line in block.splitlines()}) == 1, block


def test_crun_has_columns_where_it_ran() -> None:
    assert row(markdown(with_crun()), "run")[-3:] == ["8.00 ms", "1.25", "≤ 1.5"]


def test_the_page_names_what_it_depends_on() -> None:
    page = markdown(a_report())
    for words in (
        "| kernel | 6.1 |",
        "| date | 2026-01-02 |",
        "`make bench`",
        "runc version 2",
        "median of 3 runs",
        "crun was left out",
        "no CAP_SYS_RESOURCE",
    ):
        assert words in " ".join(page.split())


def test_without_a_compiler_there_is_no_peak() -> None:
    report = a_report()
    report["modes"]["v1"]["peak_rss"] = {}
    page = markdown(report)
    assert "Not measured: it needs a C compiler." in page
    assert "peak RSS of any command" not in page


def test_a_busy_machine_is_told() -> None:
    report = a_report()
    assert "was busy" not in markdown(report)
    report["load"] = 2.0
    assert "was busy" in markdown(report)


def test_processor_time() -> None:
    assert "| run | 2.00 ms | 8.00 ms | 0.25 |" in markdown(a_report())


def test_slope() -> None:
    assert slope(a_mode()["mounts"], "runc", "1", "1001") == pytest.approx(0.0002)
    assert "| runc | 40.0 ms | 240 ms | 200.0 µs |" in markdown(a_report())


@pytest.mark.parametrize("report", [a_report(), with_crun()])
def test_chart(report: Report) -> None:
    """One bar for each time, as long as the time, all of it inside the picture."""
    picture = ElementTree.fromstring(svg(report))
    bars = [bar for bar in picture.iter(f"{SVG}rect") if bar.get("rx") == "1.5"]
    names = list(report["modes"]["v1"]["runtimes"])
    assert len(bars) == len(TARGETS) * len(names)
    pyrun, runc = bars[0], bars[1]
    assert (pyrun.get("class"), runc.get("class")) == ("tested", "runc")
    assert float(runc.attrib["width"]) == pytest.approx(4 * float(pyrun.attrib["width"]), abs=1)
    for bar in bars:
        assert float(bar.attrib["x"]) + float(bar.attrib["width"]) <= WIDTH
        assert float(bar.attrib["y"]) + float(bar.attrib["height"]) <= float(picture.attrib["height"])
    words = " ".join(element.text or "" for element in picture.iter(f"{SVG}text"))
    assert "10.0 ms, 0.25 of runc's" in words
