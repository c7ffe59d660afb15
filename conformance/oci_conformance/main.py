"""The command line of oci-conformance."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from oci_conformance import __version__
from oci_conformance.core import host, probe, runtime
from oci_conformance.mutants import engine
from oci_conformance.report import formats, matrix, notes, outputs
from oci_conformance.run import expectations, registry, repeat, requirements, results, runner

LEVELS = ("must", "should", "may")
VERSION = click.Choice(runner.VERSIONS)


class Sentence(click.ClickException):
    """An error in one sentence: the suite can't run."""

    exit_code = runner.EXIT_CUT_SHORT


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="oci-conformance")
def cli() -> None:
    """Validates an OCI runtime against the OCI runtime specification, as a black box.

    Not affiliated with the Open Container Initiative, which has a certification programme of its own.
    """


def selecting(command: Any) -> Any:
    """Options that say which tests are meant."""
    for option in (
        click.option(
            "-k", "expression", default="", metavar="EXPR", help="Only what matches, as with pytest."
        ),
        click.option(
            "--profile",
            "profiles",
            type=click.Choice(requirements.PROFILES),
            multiple=True,
            default=("spec",),
            show_default=True,
            help="What is tested; may be given several times.",
        ),
        click.option(
            "--spec",
            type=VERSION,
            default=runner.VERSIONS[0],
            show_default=True,
            help="Version of the specification.",
        ),
    ):
        command = option(command)
    return command


@cli.command()
@click.option("--runtime", "path", required=True, metavar="PATH", help="The runtime to validate.")
@selecting
@click.option(
    "--level",
    type=click.Choice(LEVELS),
    default="must",
    show_default=True,
    help="Failures below this level don't count in the exit code.",
)
@click.option(
    "--jobs", type=click.IntRange(1), default=os.cpu_count() or 1, show_default=True, help="Tests at a time."
)
@click.option(
    "--adapter", default="default", show_default=True, metavar="NAME|FILE", help="How it is called."
)
@click.option("--runtime-flag", "flags", multiple=True, metavar="FLAG", help="A flag for each of its calls.")
@click.option("--systemd-cgroup", is_flag=True, help="Have it make cgroups by systemd.")
@click.option("--expect", "expected", multiple=True, metavar="NAME|FILE", help="Its known deviations.")
@click.option(
    "--timeout", type=float, default=runtime.LIMIT, show_default=True, help="Seconds for one call of it."
)
@click.option("--test-timeout", type=float, default=60.0, show_default=True, help="Seconds for one test.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first failure.")
@click.option("--keep", is_flag=True, help="Leave the bundles.")
@click.option(
    "--format",
    "form",
    type=click.Choice(outputs.CHOICES),
    default="terminal",
    show_default=True,
    help="On standard output.",
)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for every format of report."
)
@click.option("--list", "list_only", is_flag=True, help="List the tests that would run, and end.")
def run(
    path: str, expression: str, list_only: bool, expected: tuple[str, ...], form: str, **given: Any
) -> None:
    """Run the tests. Exit code 0: nothing failed; 1: something did; 2: cut short, or it could not begin."""
    known = requirements.of(given["profiles"], given["spec"])
    chosen = registry.select(given["profiles"], frozenset(known.every()), expression)
    if list_only:
        _list(chosen)
        return
    if not chosen:
        raise Sentence(f"no test matches {expression!r}; `oci-conformance list` names them all")
    options = _options(path, given)
    try:
        options.deviations = [
            each for name in expected for each in expectations.load(name, requirements.every())
        ]
    except expectations.ExpectationsError as error:
        raise Sentence(str(error)) from None
    levels = {id: "MAY" if each.reading else each.level for id, each in known.every().items()}
    with _clear():
        sys.exit(
            runner.run(chosen, levels, options, outputs.Outputs(form, options.out, known, len(chosen)).take)
        )


def _options(path: str, given: dict[str, Any]) -> runner.Options:
    """What a command line says of the runtime and the run; takes out of `given` what has another name there."""
    systemd = given.pop("systemd_cgroup")
    try:
        adapter = runtime.Adapter.load(given.pop("adapter"))
    except runtime.AdapterError as error:
        raise Sentence(str(error)) from None
    here = host.look(systemd_cgroup=systemd)
    return runner.Options(
        runtime=_program(path),
        adapter=adapter,
        flags=(
            *given.pop("flags"),
            *(adapter.systemd if systemd else ()),
            *(adapter.rootless if here.uid else ()),
        ),
        host=here,
        limit=given.pop("timeout"),
        test_limit=given.pop("test_timeout", 60.0),
        argv=sys.argv[1:],
        **given,
    )


@cli.command("repeat")
@click.argument("id")
@click.option("--runtime", "path", required=True, metavar="PATH", help="The runtime.")
@click.option("--test", "name", default="", metavar="NAME", help="Only this test of the requirement.")
@click.option("--spec", type=VERSION, default=runner.VERSIONS[0], help="Version of the specification.")
@click.option("--adapter", default="default", metavar="NAME|FILE", help="How it is called.")
@click.option("--runtime-flag", "flags", multiple=True, metavar="FLAG", help="A flag for each of its calls.")
@click.option("--systemd-cgroup", is_flag=True, help="Have it make cgroups by systemd.")
@click.option("--timeout", type=float, default=runtime.LIMIT, help="Seconds for one call of it.")
def repeat_(id: str, path: str, name: str, **given: Any) -> None:
    """Fail a requirement again, and stop there with everything in place: bundles, sockets, namespaces, umask.

    Says what was expected and seen, and the calls; cleans up when Enter is pressed. Exit code 1: it failed; 0: not.
    """
    tests = [each for each in registry.tests().values() if id in each.ids and name in ("", each.name)]
    if not tests:
        raise Sentence(
            f"there is no test of {id!r}{f' called {name}' if name else ''}; see oci-conformance list"
        )
    options = _options(path, {**given, "jobs": 1, "profiles": tuple({each.profile for each in tests})})
    again = repeat.Repeat(id, click.echo, _wait)
    with _clear(), runner.session(options, frozenset(requirements.every())) as plan:
        sys.exit(runner.EXIT_FAILED if again.run(tests, plan) else runner.EXIT_PASSED)


def _wait() -> None:
    """Until a line comes, or the end of standard input, or Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    click.echo("# Press Enter to clean up.")
    sys.stdout.flush()
    with contextlib.suppress(KeyboardInterrupt):
        sys.stdin.readline()


def _program(path: str) -> str:
    """The absolute path of the runtime."""
    found = runtime.find(path)
    if not os.path.exists(found):
        raise Sentence(f"--runtime {path}: there is no such program")
    if not (os.path.isfile(found) and os.access(found, os.X_OK)):
        raise Sentence(f"--runtime {path}: it is not executable")
    return found


@contextlib.contextmanager
def _clear() -> Iterator[None]:
    """What keeps the suite from running is said in one sentence."""
    try:
        yield
    except runner.CannotRun as error:
        raise Sentence(str(error)) from None


@cli.command("list")
@selecting
def list_(spec: str, profiles: tuple[str, ...], expression: str) -> None:
    """List tests, and the requirements that each shows."""
    _list(registry.select(profiles, frozenset(requirements.of(profiles, spec).every()), expression))


def _list(chosen: list[registry.Test]) -> None:
    for test in chosen:
        click.echo(f"{click.style(test.name, bold=True)}  {test.title}")
        click.echo(f"    {' '.join(test.ids)}")


@cli.command()
@click.argument("id")
def explain(id: str) -> None:
    """Explain a requirement or a test, by its id or name."""
    known = requirements.every()
    tests = registry.tests()
    if id in tests:
        test = tests[id]
        click.echo(f"{click.style(test.name, bold=True)}  ({test.profile})\n{test.function.__doc__}\n")
        for each in test.ids:
            click.echo(f"  {each:32}  {known[each].level}: {known[each].text}")
        click.echo(f"\nneeds: {', '.join(test.needs) or 'nothing special'}")
        return
    if id not in known:
        close = [name for name in (*known, *tests) if id.lower() in name.lower()]
        hint = f"; near it are {', '.join(close[:8])}" if close else ""
        raise Sentence(f"there is no requirement or test {id!r}{hint}")
    requirement = known[id]
    versions = f"since {requirement.since}" + (f", until {requirement.until}" if requirement.until else "")
    click.echo(
        f"{click.style(id, bold=True)}  {requirement.level}, {versions}\n{requirement.text}\n{requirement.url}"
    )
    if requirement.unseen:
        click.echo(f"Not tested: {requirement.unseen}")
    if requirement.reading:
        click.echo(f"A reading, which counts in no score: {requirement.reading}")
    for test in tests.values():
        if id in test.ids:
            click.echo(f"  {test.name}: {test.title}")


@cli.command()
def doctor() -> None:
    """Tell what this host can test, and what is missing for the rest."""
    here = host.look()
    for key, value in here.record().items():
        click.echo(f"{key:14} {', '.join(value) if isinstance(value, list) else value}")
    try:
        click.echo(f"{'probe':14} {probe.binary()}")
    except probe.ProbeError as error:
        raise Sentence(str(error)) from None
    needs: dict[str, list[str]] = {}
    for test in registry.tests().values():
        for need in test.needs:
            if lacking := here.lacks(need):
                needs.setdefault(lacking, []).append(test.name)
    total = len(registry.tests())
    missing = {name for names in needs.values() for name in names}
    click.echo(f"\n{total - len(missing)} of {total} tests can run here.")
    for lacking, names in sorted(needs.items(), key=lambda item: -len(item[1])):
        click.echo(f"  without {lacking}: {len(names)} {'test' if len(names) == 1 else 'tests'} skip")


@cli.command()
@click.argument("stream", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(outputs.CHOICES), default="terminal", show_default=True)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for every format of report."
)
def report(stream: Path, form: str, out: Path | None) -> None:
    """Show a finished run, by its results.jsonl, in another form."""
    loaded = _load(stream)
    known = requirements.of(tuple(loaded.header["profiles"]), loaded.header["spec"])
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        formats.write(out, loaded, known.spec, known.profiles)
    click.echo(outputs.render(form, loaded, known), nl=False)


@cli.command()
@click.argument("streams", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--notes", "notes_", type=click.Path(path_type=Path), help="Explanations of deviations, as TOML."
)
@click.option(
    "--expect", "expected", multiple=True, metavar="NAME", help="Explanations from expectations of ours."
)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="The page; standard output if not given."
)
def compare(
    streams: tuple[Path, ...], notes_: Path | None, expected: tuple[str, ...], out: Path | None
) -> None:
    """Show several runs, by their results.jsonl, side by side as a page."""
    runs = [_load(stream) for stream in streams]
    newest = min((run.header["spec"] for run in runs), key=runner.VERSIONS.index)
    profiles = tuple(dict.fromkeys(profile for run in runs for profile in run.header["profiles"]))
    known = requirements.of(profiles, newest)
    try:
        explained = notes.load(notes_) if notes_ else []
        for name in expected:
            for each in expectations.load(name, requirements.every()):
                explained.append(notes.Note(each.id, each.reason, name, "runtime", each.link))
    except (notes.NotesError, expectations.ExpectationsError) as error:
        raise Sentence(str(error)) from None
    page = matrix.render(runs, known.spec, known.profiles, explained)
    if out is None:
        click.echo(page, nl=False)
    else:
        out.write_text(page, encoding="utf-8")


@cli.command()
@click.option(
    "--from",
    "stream",
    type=click.Path(path_type=Path),
    required=True,
    metavar="STREAM",
    help="A finished run's results.jsonl.",
)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="The file; standard output if not given."
)
def expect(stream: Path, out: Path | None) -> None:
    """Write a file for --expect, in which every failure of a run is expected.

    The run's own expectations stay with their reasons; the reason of a new one is what was seen. A failure that depends
    on the moment needs `sometimes = true`, by hand.
    """
    text = expectations.written(_load(stream))
    if out is None:
        click.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")


def _load(stream: Path) -> results.Run:
    try:
        return results.Run.load(stream)
    except results.StreamError as error:
        raise Sentence(str(error)) from None


@cli.command()
@click.option(
    "--runtime", "path", required=True, metavar="PATH", help="A runtime that passes: what is broken."
)
@click.option("-k", "expression", default="", metavar="TEXT", help="Only mutants whose names contain it.")
@click.option("--sample", type=click.IntRange(1), metavar="N", help="Every Nth mutant only.")
@click.option("--jobs", type=click.IntRange(1), default=os.cpu_count() or 1, show_default=True)
def mutants(path: str, expression: str, sample: int | None, jobs: int) -> None:
    """Test the tests: break a good runtime in one way after the other, and see which they notice.

    Exit code 0: all that this host can show were noticed; 1: some survived.
    """
    chosen = [each for each in engine.every() if expression in each.name][:: sample or 1]
    known = frozenset(requirements.of(("spec",), runner.VERSIONS[0]).spec)
    options = runner.Options(runtime=_program(path), host=host.look(), jobs=jobs)
    with _clear(), runner.session(options, known) as plan:
        tests = registry.select(("spec",), known)
        baseline = list(runner.records(tests, plan, jobs))
        click.echo(f"{len(chosen)} mutants of {path}, {len(tests)} tests")
        outcomes = engine.run(chosen, baseline, plan, jobs, lambda outcome: None)
    counted = Counter(outcome.status for outcome in outcomes)
    outcomes.sort(key=lambda outcome: outcome.mutant.name)
    for outcome in outcomes:
        if outcome.status == "impossible":
            click.echo(f"impossible here  {outcome.mutant.name}: {outcome.by}")
    for outcome in outcomes:
        if outcome.status == "survived":
            click.echo(f"{click.style('survived', fg='red')}  {outcome.mutant.name}: {outcome.mutant.title}")
            click.echo(f"          not noticed by {', '.join(outcome.tried)}")
    possible = counted["killed"] + counted["survived"]
    click.echo(
        f"{counted['killed']} of {possible} killed; {counted['equivalent']} make no difference that can be seen, "
        f"{counted['impossible']} can't be shown with this runtime on this host"
    )
    sys.exit(runner.EXIT_FAILED if counted["survived"] else runner.EXIT_PASSED)


def main() -> None:
    """The entry point."""
    if shutil.get_terminal_size().columns < 40:
        os.environ["COLUMNS"] = "80"
    cli(prog_name="oci-conformance")


if __name__ == "__main__":
    main()
