"""--log, --log-format and --log-level; and the last words on stderr.

Hot module. The last record of the log is the sentence on stderr: containerd and docker show people the one, podman
the other.
"""

from __future__ import annotations

import posix
import time

from pyrun.base.errors import PyrunError, failed, printable, words
from pyrun.base.jsontext import quote

LEVELS = ("error", "warning", "info", "debug")

path = ""
as_json = False
level = 1


def configure(log_path: str, log_format: str, log_level: str, debug: bool) -> None:
    """Take on the global options. Raises PyrunError for a value that they can't have."""
    global path, as_json, level
    if log_format not in ("", "text", "json"):
        raise PyrunError(f'--log-format: "{log_format}" is neither text nor json')
    if log_level == "warn":
        log_level = "warning"
    if log_level and log_level not in LEVELS:
        raise PyrunError(f'--log-level: "{log_level}" is none of {", ".join(LEVELS)}')
    as_json = log_format == "json"
    level = 3 if debug else LEVELS.index(log_level) if log_level else 1
    path = ""  # until it is known that it can be written
    path = _checked(log_path) if log_path else ""


def _checked(log_path: str) -> str:
    """Return the path of a log that can be written. Raises PyrunError if we can't open it, or if it names a service.

    We ask now and not when there is something to say, because engines read errors there alone.
    """
    service = log_path.partition(":")[0]
    if service in ("journald", "syslog") and ":" in log_path:
        raise PyrunError(f"--log: {service} is not supported", hint="a file is, or standard error")
    try:
        posix.close(_open(log_path))
    except OSError as error:
        raise failed("--log: opening it", error) from None
    return log_path


def record(kind: str, text: str) -> bytes:
    """Return one record of the log, in the format chosen, with its newline."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if as_json:
        line = f'{{"level":{quote(kind)},"msg":{quote(text)},"time":"{now}"}}\n'
    else:
        line = f"time={quote(now)} level={kind} msg={quote(text)}\n"
    return line.encode("utf-8", "backslashreplace")


def _open(log_path: str) -> int:
    flags = (
        posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_CLOEXEC | posix.O_NOCTTY | posix.O_NONBLOCK
    )
    return posix.open(log_path, flags, 0o644)


def _append(data: bytes) -> None:
    fd = _open(path)
    try:
        posix.write(fd, data)
    finally:
        posix.close(fd)


def write(kind: str, text: str) -> None:
    """Write a record to the log if its level is wanted; without --log, warnings and debug records go to stderr."""
    if LEVELS.index(kind) > level:
        return
    text = printable(text)
    try:
        if path:
            _append(record(kind, text))
            return
    except OSError as error:  # a full disk must not change what the command does
        text = f"{text} (the log can't be written: {words(error)})"
    try:
        posix.write(2, record(kind, text) if as_json and not path else f"pyrun: {kind}: {text}\n".encode())
    except OSError:
        pass  # nobody to tell


def warn(text: str) -> None:
    """Log a warning: something was not as asked for, and the operation goes on."""
    write("warning", text)


def debug(text: str) -> None:
    """Log one step; shown with --debug."""
    if level == 3:
        write("debug", text)


def last_words(text: str) -> None:
    """Write the error that ends the command, to the log and to stderr."""
    try:
        if path:
            _append(record("error", text))
    except OSError as error:
        text = f"{text} (the log can't be written: {words(error)})"
    try:
        posix.write(2, f"pyrun: {text}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        pass  # nobody to tell
