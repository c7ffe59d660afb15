"""Where the records of a run go: the stream and its other forms in a folder, one form on standard output."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import click

from oci_conformance.core.records import BREAKING, Record, TestRecord
from oci_conformance.report import formats, terminal
from oci_conformance.run.requirements import Known
from oci_conformance.run.results import Run, Writer

STREAM = "results.jsonl"
CHOICES = ("terminal", "json", *formats.FORMATS)


def render(form: str, run: Run, known: Known) -> str:
    """A whole run in one form. `json` is the stream itself; `terminal` fits this terminal."""
    if form == "json":
        records = [run.header, *run.tests, *([run.footer] if run.footer else [])]
        return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    if form == "terminal":
        colour = terminal.wants_colour(sys.stdout)
        return terminal.render(run, known.spec, known.profiles, width=_width(), colour=colour)
    return formats.FORMATS[form][1](run, known.spec, known.profiles)


class Outputs:
    """Takes each record as it comes."""

    def __init__(self, form: str, out: Path | None, known: Known, total: int) -> None:
        self.form = form
        self.known = known
        self.total = total  # tests that will run
        self.run: Run | None = None
        self._out = out
        self._failed = 0
        self._writer: Writer | None = None
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            self._writer = Writer(out / STREAM)

    def take(self, record: Record) -> None:
        """One record of the stream."""
        if self._writer is not None:
            self._writer.write(record)
        if self.form == "json":
            click.echo(json.dumps(record, ensure_ascii=False))
        if record["type"] == "header":
            self.run = Run(record)
        assert self.run is not None
        if record["type"] == "test":
            self.run.tests.append(record)
            if self.form == "terminal":
                self._progress(record, self.run)
        elif record["type"] == "footer":
            self.run.footer = record
            self._finish(self.run)

    def _progress(self, record: TestRecord, run: Run) -> None:
        """Failures at once; and, on a terminal, one line that says how far the run is."""
        live = sys.stdout.isatty()
        if live:
            click.echo("\r\033[K", nl=False)
        for result in record["results"]:
            if result["status"] in BREAKING:
                self._failed += 1
                requirement = self.known.every().get(result["id"])
                colour = terminal.wants_colour(sys.stdout)
                click.echo(terminal.failure(record, result, requirement, width=_width(), colour=colour))
        if live:
            line = f"{len(run.tests)}/{self.total} tests  {self._failed} failed  {record['test']}"
            click.echo(line[: _width() - 1], nl=False)

    def _finish(self, run: Run) -> None:
        if self._writer is not None and self._out is not None:
            self._writer.close()
            formats.write(self._out, run, self.known.spec, self.known.profiles)
        if self.form == "terminal":
            if sys.stdout.isatty():
                click.echo("\r\033[K", nl=False)
            colour = terminal.wants_colour(sys.stdout)
            click.echo(terminal.summary(run, self.known.spec, width=_width(), colour=colour), nl=False)
            if self._out is not None:
                click.echo(f"report: {self._out / formats.FORMATS['html'][0]}")
        elif self.form != "json":
            click.echo(render(self.form, run, self.known), nl=False)


def _width() -> int:
    return shutil.get_terminal_size((100, 24)).columns
