"""A small picture of one level's score, for a README."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from oci_conformance.report.common import one_line
from oci_conformance.run.results import Run, score
from oci_spec.catalogue import Requirement

_WIDTH = 6.7  # of a character of 11 pixels, on average
_COLOURS = ((1.0, "#17703c"), (0.95, "#5b7a12"), (0.8, "#9a6700"), (0.0, "#bd2418"))  # from this share on


def render(run: Run, catalogue: Mapping[str, Requirement], level: str = "MUST") -> str:
    """SVG that says, for example, "runtime-spec 1.3.0 MUST | 340/345"; a run that was cut short has no score."""
    result = score(level, run.by_requirement(catalogue), catalogue)
    left = escape(one_line(f"runtime-spec {run.header['spec']} {level}"))
    right, colour = (
        (str(result), _colour(result.passed, result.seen)) if run.complete else ("cut short", "#5b626d")
    )
    widths = [round(len(text) * _WIDTH) + 12 for text in (left, right)]
    total = sum(widths)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="20" role="img" aria-label="{left}: {right}">'
        f"<title>{left}: {right}</title>"
        f'<clipPath id="r"><rect width="{total}" height="20" rx="3"/></clipPath>'
        f'<g clip-path="url(#r)"><rect width="{widths[0]}" height="20" fill="#444a52"/>'
        f'<rect x="{widths[0]}" width="{widths[1]}" height="20" fill="{colour}"/></g>'
        '<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f'<text x="{widths[0] / 2}" y="14">{left}</text>'
        f'<text x="{widths[0] + widths[1] / 2}" y="14">{right}</text></g></svg>\n'
    )


def _colour(passed: int, seen: int) -> str:
    share = passed / seen if seen else 0.0
    return next(colour for least, colour in _COLOURS if share >= least)
