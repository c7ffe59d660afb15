"""What the shared tests need from an engine, whichever it is."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from .private_host import Done, PrivateHost
from .terminal import Terminal

IMAGE = "box"


class Engine:
    """An engine on its private host: `cli` is its client's command line up to the subcommand.

    `logged_run` is the subcommand ``run`` with the options that make the engine call the runtime through a
    wrapper, which appends every command line to `runtime_log`; `remove_options` make ``rm`` quick.
    """

    def __init__(
        self,
        host: PrivateHost,
        cli: Sequence[str],
        run_options: Sequence[str],
        logged_run: Sequence[str],
        runtime_log: Path,
        remove_options: Sequence[str] = (),
    ) -> None:
        self.host = host
        self.cli = tuple(cli)
        self.run_options = tuple(run_options)
        self.logged_run = tuple(logged_run)
        self.runtime_log = runtime_log
        self.remove_options = tuple(remove_options)
        self._numbers = itertools.count(1)

    def call(self, *arguments: str, stdin: bytes = b"") -> Done:
        """Run a subcommand of the client, for example ``call("logs", name)``."""
        return self.host.run(*self.cli, *arguments, stdin=stdin)

    def output(self, *arguments: str, stdin: bytes = b"") -> str:
        """Standard output of a subcommand that has to succeed, without the white space around it."""
        done = self.call(*arguments, stdin=stdin)
        assert done.returncode == 0, f"{' '.join(arguments)} failed with {done.returncode}: {done.stderr}"
        return done.stdout.strip()

    def run(self, options: Sequence[str], *program: str, stdin: bytes = b"") -> Done:
        """``run --rm`` of a program in the test image."""
        return self.call("run", "--rm", *self.run_options, *options, IMAGE, *program, stdin=stdin)

    def run_output(self, options: Sequence[str], *program: str, stdin: bytes = b"") -> str:
        """Standard output of a container that has to succeed."""
        return self.output("run", "--rm", *self.run_options, *options, IMAGE, *program, stdin=stdin)

    def start(self, options: Sequence[str], *program: str) -> str:
        """``run -d``; returns the container's name."""
        name = f"test-{next(self._numbers)}"
        self.output("run", "-d", "--name", name, *self.run_options, *options, IMAGE, *program)
        return name

    def remove(self, name: str) -> None:
        """Remove a container, running or not."""
        self.output("rm", "--force", *self.remove_options, name)

    def terminal(self, options: Sequence[str], *program: str) -> Terminal:
        """``run --rm -it`` on a real terminal."""
        return self._terminal("run", "--rm", "-it", *self.run_options, *options, IMAGE, *program)

    def execute_on_terminal(self, name: str, *program: str) -> Terminal:
        """``exec -it`` on a real terminal."""
        return self._terminal("exec", "-it", name, *program)

    def attach(self, name: str) -> Terminal:
        """``attach`` on a real terminal."""
        return self._terminal("attach", name)

    def _terminal(self, *arguments: str) -> Terminal:
        environment = {**self.host.environment, "TERM": "xterm"}
        return Terminal(self.host.command(*self.cli, *arguments), environment)

    def inspect(self, name: str, template: str) -> str:
        """A field of a container, by Go template."""
        return self.output("container", "inspect", "--format", template, name)

    def wait_for_log(self, name: str, text: str, timeout: float = 20.0) -> None:
        """Wait until the container has printed `text`."""
        deadline = time.monotonic() + timeout
        while text not in self.output("logs", name):
            if time.monotonic() > deadline:
                pytest.fail(f"{name} didn't print {text!r}")
            time.sleep(0.02)


def write_wrapper(folder: Path, runtime: Path) -> tuple[Path, Path]:
    """A script that logs its arguments and becomes the runtime; returns the script and its log."""
    log, wrapper = folder / "runtime.log", folder / "logged-runtime"
    log.touch()
    wrapper.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> "{log}"\nexec "{runtime}" "$@"\n')
    wrapper.chmod(0o755)
    return wrapper, log
