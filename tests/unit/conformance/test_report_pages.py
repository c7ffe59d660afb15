"""The pages, as HTML: nothing from outside, nothing that acts but our own script, everything that the run has."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
import report_samples as samples

from oci_conformance.report import html, matrix
from oci_conformance.report.notes import Note
from oci_spec.catalogue import SITE

CATALOGUE = samples.catalogue()
VOID = {"input", "meta", "br"}


class Parsed(HTMLParser):
    """A document: its elements in order, the text of each, and whether they are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []  # of each element, with what is inside
        self._open: list[int] = []
        self.feed(text)
        self.close()
        assert not self._open, "elements that are never closed"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names)), f"an attribute stands twice in {tag}"
        self.elements.append((tag, {name: value or "" for name, value in attributes}))
        self.texts.append("")
        if tag not in VOID:
            self._open.append(len(self.elements) - 1)

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self._open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        for number in self._open:
            self.texts[number] += data

    def having(self, attribute: str) -> list[tuple[dict[str, str], str]]:
        return [
            (attributes, text)
            for (_, attributes), text in zip(self.elements, self.texts, strict=True)
            if attribute in attributes
        ]


def one_page() -> str:
    return html.render(
        samples.run(),
        CATALOGUE,
        {"leak.id": samples.requirement("leak.id", section="hardening", text="Nothing leaks")},
    )


def several() -> str:
    runs = [samples.run("one"), samples.run("two", pass_id="fail", fail_id="pass"), samples.run("two")]
    notes = [Note("fail.id", f"Checked: {samples.EVIL}", "one", "runtime", "https://example.org/why")]
    return matrix.render(runs, CATALOGUE, {}, notes)


PAGES = pytest.mark.parametrize("text", [one_page(), several()], ids=["one", "several"])


@PAGES
def test_report_loads_nothing_remote(text: str) -> None:
    page = Parsed(text)
    ids = [attributes["id"] for attributes, _ in page.having("id")]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.elements:
        assert tag not in {"img", "link", "iframe", "object", "embed", "base", "image", "use"}
        assert not {"src", "srcset", "style", "action", "srcdoc"}.intersection(attributes)
        assert not [name for name in attributes if name.startswith("on")]
        link = attributes.get("href", "#=")
        assert link.startswith((SITE, "https://example.org/why", "#")), link
        assert not link.startswith("#") or "=" in link or link[1:] in ids, f"{link} leads nowhere"
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert "url(" not in text and "@import" not in text


@PAGES
def test_the_policy_permits_our_script_and_styles_alone(text: str) -> None:
    page = Parsed(text)
    policy = page.having("http-equiv")[0][0]["content"]
    assert policy.startswith("default-src 'none'; ")
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        content = next(text for (name, _), text in zip(page.elements, page.texts, strict=True) if name == tag)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy


@PAGES
def test_hostile_texts_are_shown_as_they_are(text: str) -> None:
    whole = Parsed(text).texts[0]
    assert "bad </script></pre><img src=x onerror=alert(1)> \"'`&#x3c; ]]> --> ^[[31mred^@^G⟨U+202E⟩" in whole
    assert "process.cwd" in whole and "- hostname" in whole
    assert "/bin/runtime create 'a b' exit code 0" in whole and "stopped: no answer in time" in whole


@PAGES
def test_a_page_can_be_used_without_a_mouse_and_by_a_screen_reader(text: str) -> None:
    page = Parsed(text)
    tags = [tag for tag, _ in page.elements]
    assert page.elements[0] == ("html", {"lang": "en"})
    assert tags.count("h1") == tags.count("main") == 1
    first = next(attributes for tag, attributes in page.elements if tag == "a")
    assert first == {"href": "#results", "class": "skip"}
    for (tag, attributes), words in zip(page.elements, page.texts, strict=True):
        if tag in ("button", "a", "summary", "th", "option"):
            assert words.strip(), f"{tag} {attributes} has no name"
        if tag == "fieldset":
            assert words
        if tag == "svg":
            assert attributes["aria-hidden"] == "true"
    assert "Search" in page.texts[0]


def test_every_requirement_has_a_row_with_its_status() -> None:
    run = samples.run()
    rows = {
        attributes["id"]: (attributes, text) for attributes, text in Parsed(one_page()).having("data-status")
    }
    for key, verdict in run.by_requirement(CATALOGUE).items():
        attributes, text = rows.pop(f"r-{key}")
        assert attributes["data-status"] == verdict.status
        assert attributes["data-level"] == CATALOGUE[key].level.removesuffix(" NOT")
        assert attributes["data-profile"] == "spec"
        assert key in text and "Something holds of config.json" in text
    assert {key: row["data-profile"] for key, (row, _) in rows.items()} == {
        "r-hardening_3aleak.id": "hardening",
        "r-hardening_3apass.id": "hardening",
    }
    assert "Nothing leaks" in rows["r-hardening_3aleak.id"][1]


def test_what_broke_comes_first_and_is_open() -> None:
    text = one_page()
    page = Parsed(text)
    statuses = [attributes["data-status"] for attributes, _ in page.having("data-status")]
    broken = {"error", "fail", "xpass"}
    sections = re.findall(r'<details class="section"( open)?>(.*?)</ul></details>', text, re.DOTALL)
    flags = [bool(is_open) for is_open, _ in sections[:-1]]
    assert flags == sorted(flags, reverse=True) and len(sections) == 5
    for is_open, content in sections:
        found = re.findall('data-status="([a-z]+)"', content)
        assert bool(is_open) == bool(broken.intersection(found))
        order = [status not in broken for status in found]
        assert order == sorted(order)
    assert set(statuses) >= broken
    assert "6 requirements to look at" in page.texts[0]


def test_scores_are_those_of_the_specification_alone() -> None:
    cards = [attributes["aria-label"] for attributes, _ in Parsed(one_page()).having("aria-label")]
    assert cards[:3] == ["MUST: 0 of 2 passed", "SHOULD: 0 of 1 passed", "MAY: 2 of 2 passed"]


def test_only_an_interrupted_run_says_so() -> None:
    words = "This run was cut short"
    assert words not in one_page()
    page = Parsed(html.render(samples.run(footer=False), CATALOGUE))
    (banner,) = [text for attributes, text in page.having("role") if attributes["role"] == "alert"]
    assert banner.startswith(words)


def test_a_runtime_that_runs_older_bundles_only_is_said_to() -> None:
    run = samples.run()
    run.header["bundle_version"] = "1.0.2"
    words = "doesn&#x27;t run bundles of 1.3.0: it was given the same tests as 1.0.2"
    assert words in html.render(run, CATALOGUE) and words not in one_page()
    assert "bundles of 1.0.2" in matrix.render([run], CATALOGUE)


def test_many_calls_are_folded_and_failed_ones_counted() -> None:
    run = samples.run()
    test = next(test for test in run.tests if test["test"] == "area.fail")
    assert '<details class="block" open><summary>3 calls, 2 with an exit code other than 0' in one_page()
    test["calls"] = test["calls"][:1] * 5
    assert '<details class="block"><summary>5 calls</summary>' in html.render(run, CATALOGUE)


def test_ids_that_the_catalogue_lacks_are_named() -> None:
    smaller = {key: one for key, one in CATALOGUE.items() if key != "fail.id"}
    assert "the catalogue doesn&#x27;t have them: fail.id" in html.render(samples.run(), smaller)


def test_a_run_without_failures() -> None:
    run = samples.run(fail_id="pass", error_id="pass", xpass_id="pass")
    run.tests = [test for test in run.tests if test["test"] not in ("kill.one", "files.leak")]
    assert "Nothing failed." in html.render(run, CATALOGUE)


def test_runtimes_side_by_side() -> None:
    page = Parsed(several())
    rows = {attributes["id"]: (attributes, text) for attributes, text in page.having("data-status")}
    assert len(rows) == len(CATALOGUE) + 2
    kinds = {key: attributes["data-kind"] for key, (attributes, _) in rows.items()}
    assert kinds["r-fail.id"] == "differs explained"
    assert kinds["r-pass.id"] == "differs unexplained"
    assert kinds["r-error.id"] == "unexplained" and kinds["r-skip.id"] == ""
    assert rows["r-fail.id"][0]["data-status"] == "fail pass"
    assert "one, the runtime deviates: Checked:" in rows["r-fail.id"][1]
    assert "Evidence: one, two (2)" in rows["r-fail.id"][1]
    assert [text for (tag, _), text in zip(page.elements, page.texts, strict=True) if tag == "h1"] == [
        "one · two (1) · two (2)"
    ]


def test_runs_that_can_t_be_compared_as_they_are() -> None:
    old, short = samples.run("old"), samples.run("short", footer=False)
    old.header["spec"] = "1.2.1"
    text = matrix.render([old, short], CATALOGUE)
    assert "different versions of the specification: 1.2.1, 1.3.0" in text
    assert "Cut short, so that results are missing: short." in text


def test_what_one_runtime_was_not_asked_is_untested() -> None:
    without = samples.run("other")
    without.tests = [test for test in without.tests if test["profile"] == "spec"]
    page = Parsed(matrix.render([without, samples.run()], CATALOGUE))
    (row,) = [row for row, _ in page.having("data-status") if row["id"] == "r-hardening_3aleak.id"]
    assert row["data-status"] == "untested fail"
