"""The bench's results as an SVG bar chart that can be read on a light and on a dark page: pure functions."""

from __future__ import annotations

from xml.sax.saxutils import escape

from .report import MODE_TITLES, TARGETS, Mode, Report, medians, ms

WIDTH = 760
LEFT = 190  # of the bars
RIGHT = 150  # kept free for the figures beside the bars
BAR = 13
GAP = 11  # between two commands
STYLE = """
    text { font: 13px system-ui, sans-serif; fill: #1f2328; }
    .title { font-size: 17px; font-weight: 600; }
    .panel { font-size: 14px; font-weight: 600; }
    .small { font-size: 11px; fill: #59636e; }
    .page { fill: #ffffff; }
    .tested { fill: #1f6feb; }
    .runc { fill: #a3adb8; }
    .crun { fill: #d4812a; }
    .target { stroke: #c93c37; stroke-width: 2; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; }
      .small { fill: #9198a1; }
      .page { fill: #0d1117; }
      .tested { fill: #58a6ff; }
      .runc { fill: #6e7681; }
      .target { stroke: #ff7b72; }
    }
"""


def css_class(name: str, tested: str) -> str:
    """The class of a runtime's bars."""
    return "tested" if name == tested else name


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    """One line of text, `y` is its base line."""
    classes = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{classes}>{escape(words)}</text>'


def panel(mode: Mode, title: str, tested: str, top: float) -> tuple[list[str], float]:
    """The bars of one kind of cgroups from `top` on; the elements and where they end."""
    names = list(mode["runtimes"])
    rows = [(target, medians(mode["times"][target["row"]])) for target in TARGETS]
    scale = (WIDTH - LEFT - RIGHT) / max(max(seconds.values()) for _, seconds in rows)
    elements = [text(16, top + 14, title, "panel")]
    top += 28
    for target, seconds in rows:
        middle = top + len(names) * BAR / 2 + 4.5
        elements.append(text(LEFT - 10, middle, target["title"], anchor="end"))
        for number, name in enumerate(names):
            y, length = top + number * BAR, seconds[name] * scale
            elements.append(
                f'<rect x="{LEFT}" y="{y:.1f}" width="{length:.1f}" height="{BAR - 2}" rx="1.5" '
                f'class="{css_class(name, tested)}"/>'
            )
            figures = ms(seconds[name])
            if name == tested:
                figures += f", {seconds[name] / seconds['runc']:.2f} of runc's"
            mark = seconds["runc"] * scale * (target["wanted"] or 0) if name == tested else 0
            if mark:
                elements.append(
                    f'<line x1="{LEFT + mark:.1f}" y1="{y - 2:.1f}" x2="{LEFT + mark:.1f}" '
                    f'y2="{y + BAR:.1f}" class="target"/>'
                )
            elements.append(text(LEFT + max(length, mark) + 6, y + BAR - 3.5, figures, "small"))
        top += len(names) * BAR + GAP
    return elements, top + 8


def svg(report: Report) -> str:
    """The chart of all kinds of cgroups that were measured."""
    tested = report["tested"]
    elements = [text(16, 28, f"{tested} and runc: median time of each command", "title")]
    x = 16.0
    names = list(dict.fromkeys(name for mode in report["modes"].values() for name in mode["runtimes"]))
    for name in names:
        elements.append(
            f'<rect x="{x:.1f}" y="42" width="11" height="11" class="{css_class(name, tested)}"/>'
        )
        elements.append(text(x + 16, 52, name))
        x += 16 + 8 * len(name) + 24
    elements.append(f'<line x1="{x + 5:.1f}" y1="40" x2="{x + 5:.1f}" y2="55" class="target"/>')
    elements.append(text(x + 14, 52, "largest time wanted"))
    top = 80.0
    for name, mode in report["modes"].items():
        drawn, top = panel(mode, MODE_TITLES[name], tested, top)
        elements += drawn
    elements.append(text(16, top + 8, f"{report['rounds']} interleaved runs each, {report['date']}", "small"))
    height = top + 22
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
        f'height="{height:.0f}" role="img">\n<style>{STYLE}</style>\n'
        f'<rect class="page" width="{WIDTH}" height="{height:.0f}" rx="6"/>\n'
        + "\n".join(elements)
        + "\n</svg>\n"
    )
