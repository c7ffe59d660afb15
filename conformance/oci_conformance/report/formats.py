"""The formats of a report by name, and the files that they are written to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from oci_conformance.report import badge, html, junit, tap, yaml_
from oci_conformance.run.results import Run
from oci_spec.catalogue import Requirement

Render = Callable[[Run, Mapping[str, Requirement], Mapping[str, Requirement]], str]

FORMATS: dict[str, tuple[str, Render]] = {
    "html": ("report.html", html.render),
    "junit": ("junit.xml", junit.render),
    "tap": ("results.tap", tap.render),
    "yaml": ("results.yaml", yaml_.render),
    "badge": ("badge.svg", lambda run, catalogue, _: badge.render(run, catalogue)),
}


def write(
    folder: Path, run: Run, catalogue: Mapping[str, Requirement], profiles: Mapping[str, Requirement]
) -> list[Path]:
    """Write every format into a folder that exists; returns the files."""
    written = []
    for name, render in FORMATS.values():
        path = folder / name
        path.write_text(render(run, catalogue, profiles), encoding="utf-8")
        written.append(path)
    return written
