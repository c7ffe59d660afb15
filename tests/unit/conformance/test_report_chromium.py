"""The pages in a real browser, from file://: filters, keys, widths, colour schemes, and a silent console."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import chromium
import pytest
import report_samples as samples

from oci_conformance.report import html, matrix

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium.PROGRAM is None, reason="chromium isn't installed"),
]

CATALOGUE = samples.catalogue()
ROWS = len(CATALOGUE) + 2  # those of the other profile
VISIBLE = (
    "[...document.querySelectorAll('[data-status]')].filter(row => row.checkVisibility()).map(row => row.id)"
)
FOCUS = "(document.activeElement.closest('[data-status]') || document.activeElement).id"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    (folder / "one.html").write_text(html.render(samples.run(), CATALOGUE))
    runs = [samples.run("a", pass_id="fail"), samples.run("b")]
    (folder / "several.html").write_text(matrix.render(runs, CATALOGUE))
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Page]:
    with chromium.browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(browser: chromium.Page) -> Iterator[chromium.Page]:
    """The page; whatever a test does, the console stays silent."""
    browser.emulate()
    browser.complaints.clear()
    yield browser
    assert not browser.complaints


def test_the_address_filters(page: chromium.Page, folder: Path) -> None:
    page.open(folder / "one.html", "#status=fail&level=MUST")
    assert page.value(VISIBLE) == ["r-two.tests"]
    assert page.value("document.querySelector('#shown').textContent") == f"1 of {ROWS} shown"
    assert page.value("document.querySelectorAll('#filters :checked').length") == 2
    page.open(folder / "one.html", "#status=fail,error")
    assert set(page.value(VISIBLE)) == {
        "r-error.id",
        "r-fail.id",
        "r-two.tests",
        "r-hardening_3aleak.id",
        "r-hardening_3apass.id",
    }
    page.open(folder / "one.html", "#profile=hardening&q=LEAK.ID%20title")
    assert page.value(VISIBLE) == ["r-hardening_3aleak.id"]


def test_without_filters_everything_is_there(page: chromium.Page, folder: Path) -> None:
    page.open(folder / "one.html")
    page.press("e")
    assert len(page.value(VISIBLE)) == ROWS
    assert page.value("document.querySelector('#nothing').checkVisibility()") is False


def test_the_address_shows_one_requirement(page: chromium.Page, folder: Path) -> None:
    page.open(folder / "one.html", "#r-pass.id")
    assert page.value(FOCUS) == "r-pass.id"
    assert page.value("document.querySelector('#r-pass\\\\.id details').open") is True
    assert (
        page.value("document.querySelector('#r-pass\\\\.id').getBoundingClientRect().top < innerHeight")
        is True
    )


def test_keys(page: chromium.Page, folder: Path) -> None:
    page.open(folder / "one.html")
    page.press("Tab")
    assert page.value("document.activeElement.className") == "skip"
    page.press("n")
    first = page.value(FOCUS)
    page.press("n", "p")
    assert page.value(FOCUS) == first and first.startswith("r-")
    page.press("j")
    assert page.value(FOCUS) != first
    page.press("k", "Enter")
    assert page.value("document.activeElement.parentElement.open") is False
    page.press("f")
    assert len(page.value(VISIBLE)) == 6 and "status=" in page.value("location.hash")
    page.press("/", *"leak.id")
    assert page.value(VISIBLE) == ["r-hardening_3aleak.id"] and page.value("location.hash").endswith(
        "&q=leak.id"
    )
    page.press("Escape")
    assert page.value("location.hash") == "" and page.value("document.querySelector('#q').value") == ""
    page.press("/", *"no such thing")
    assert page.value("document.querySelector('#nothing').checkVisibility()") is True


def test_chips_and_links_filter(page: chromium.Page, folder: Path) -> None:
    page.open(folder / "one.html")
    page.value("document.querySelector('input[value=xpass]').click()")
    assert page.value(VISIBLE) == ["r-xpass.id"] and page.value("location.hash") == "#status=xpass"
    page.value("document.querySelector('.card a[href*=\"status=skip\"]').click()")
    page.value("new Promise(done => setTimeout(done, 50))")
    assert page.value(VISIBLE) == ["r-skip.id"]
    page.value("document.querySelector('#clear').click()")
    assert page.value("location.hash") == ""


def test_only_what_differs(page: chromium.Page, folder: Path) -> None:
    page.open(folder / "several.html", "#kind=differs")
    assert page.value(VISIBLE) == ["r-pass.id"]
    page.open(folder / "several.html", "#status=skip")
    assert page.value(VISIBLE) == ["r-skip.id"]


@pytest.mark.parametrize("name", ["one.html", "several.html"])
@pytest.mark.parametrize("width", [360, 768, 1400])
def test_nothing_is_wider_than_the_window(page: chromium.Page, folder: Path, name: str, width: int) -> None:
    page.emulate(width=width)
    page.open(folder / name)
    page.value("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.value("document.documentElement.scrollWidth <= innerWidth") is True


@pytest.mark.parametrize("name", ["one.html", "several.html"])
def test_it_can_be_read_without_the_script(page: chromium.Page, folder: Path, name: str) -> None:
    page.emulate(script=False)
    page.open(folder / name)
    assert page.value("document.querySelector('#filters').checkVisibility()") is False
    assert "r-fail.id" in page.value(VISIBLE)
    page.value("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert len(page.value(VISIBLE)) == ROWS
    assert (
        page.value("document.querySelector('#r-fail\\\\.id').textContent.includes('bad </script>')") is True
    )


@pytest.mark.parametrize("name", ["one.html", "several.html"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_word_stands_out_from_its_ground(
    page: chromium.Page, folder: Path, name: str, scheme: str
) -> None:
    page.emulate(scheme=scheme)
    page.open(folder / name)
    page.press("e")
    page.value(
        "document.querySelectorAll('#filters input').forEach(one => one.checked = one.value === 'fail')"
    )
    assert page.value(Path(__file__).with_name("contrast.js").read_text()) == [], "WCAG asks for 4.5 to 1"
