"""The mutant itself: called like the runtime that it wraps, it does one thing wrong and the rest right.

    python3 -I -S wrapper.py '{"runtime": …, "edits": […], "behaviour": …, "argument": …}' ARGUMENT…

It runs at each call of a runtime: keep it light.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from oci_conformance.mutants import behaviours, edits

OPERATIONS = ("create", "start", "state", "kill", "delete", "features", "exec")
WITH_VALUE = (
    "--root",
    "--log",
    "--log-format",
    "--bundle",
    "-b",
    "--pid-file",
    "--console-socket",
    "--process",
    "-p",
)


class Invocation:
    """One call of the runtime, and the means to do it, or others."""

    def __init__(self, runtime: str, argv: list[str], argument: str) -> None:
        self.runtime = runtime
        self.argv = argv
        self.argument = argument  # of the behaviour
        self.operation = next((word for word in argv if word in OPERATIONS), "")
        position = argv.index(self.operation) if self.operation else 0
        self.globals = argv[:position]
        self.words, self.options = _split(argv[position + 1 :])
        self.id = self.words[0] if self.words else ""
        self.bundle = self.options.get("--bundle", os.getcwd())

    def run(self, argv: list[str] | None = None, **how: Any) -> int:
        """Call the real runtime, with the arguments given to us unless there are others."""
        return subprocess.run([self.runtime, *(argv or self.argv)], check=False, **how).returncode

    def ask(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Call the real runtime and take what it prints."""
        return subprocess.run(
            [self.runtime, *self.globals, *argv],
            check=False,
            text=True,
            errors="replace",
            capture_output=True,
        )

    def state(self) -> dict[str, Any]:
        """The container's state; empty if there is none."""
        try:
            answer = json.loads(self.ask("state", self.id).stdout)
        except ValueError:
            return {}
        return answer if isinstance(answer, dict) else {}

    def config(self) -> Any:
        """config.json, or None if it can't be read."""
        try:
            with open(os.path.join(self.bundle, "config.json"), "rb") as file:
                return json.load(file)
        except (OSError, ValueError):
            return None

    def run_with(self, config: Any, **how: Any) -> int:
        """Call the real runtime while config.json holds another configuration."""
        path = os.path.join(self.bundle, "config.json")
        with open(path, "rb") as file:
            before = file.read()
        try:
            with open(path, "w") as file:
                json.dump(config, file)
            return self.run(**how)
        finally:
            with open(path, "wb") as file:
                file.write(before)


def _split(argv: list[str]) -> tuple[list[str], dict[str, str]]:
    """Words and options of a command line."""
    words, options = [], {}
    rest = iter(argv)
    for word in rest:
        if not word.startswith("-"):
            words.append(word)
        elif word in WITH_VALUE:
            options[word] = next(rest, "")
        else:
            name, _, value = word.partition("=")
            options[name] = value
    return words, options


def main() -> int:
    """Misbehave."""
    mutant = json.loads(sys.argv[1])
    call = Invocation(mutant["runtime"], sys.argv[2:], mutant["argument"])
    if mutant["behaviour"]:
        behaviour = getattr(behaviours, mutant["behaviour"])
        code: int = behaviour(call)
        return code
    if call.operation == "create":
        config = call.config()
        if config is not None and any([edits.apply(config, *edit) for edit in mutant["edits"]]):
            return call.run_with(config)
    return call.run()


if __name__ == "__main__":
    sys.exit(main())
