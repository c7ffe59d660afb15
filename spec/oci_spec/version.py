"""`ociVersion` (config.md#specification-version): Semantic Versioning 2.0.0, and what is supported."""

from __future__ import annotations

OLDEST = "1.0.0"
NEWEST = "1.3.0"
NEWEST_MINOR = 3

ALPHANUMERIC = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-"


def is_number(text: str) -> bool:
    """Whether text is a numeric identifier: ASCII digits without a leading zero."""
    return text.isascii() and text.isdigit() and (text == "0" or text[0] != "0")


def parse(text: str) -> tuple[int, int, int, str, str] | None:
    """Split a version into major, minor, patch, pre-release and build; None if it isn't SemVer 2.0.0."""
    rest, plus, build = text.partition("+")
    core, dash, pre = rest.partition("-")
    numbers = core.split(".")
    if len(numbers) != 3 or len(core) > 60:
        return None
    for number in numbers:
        if not is_number(number):
            return None
    if (plus and not are_identifiers(build)) or (dash and not are_identifiers(pre)):
        return None
    for part in pre.split("."):
        if part.isdigit() and not is_number(part):
            return None
    return int(numbers[0]), int(numbers[1]), int(numbers[2]), pre, build


def are_identifiers(text: str) -> bool:
    """Whether text is one or more identifiers of letters, digits and hyphens, with dots between them."""
    return all(part and not part.strip(ALPHANUMERIC) for part in text.split("."))


def wanted(text: str) -> str:
    """What would be wanted instead of this version, or "" if it is supported: 1.0.0 up to any other 1.x, since minor
    versions are compatible (config.md#specification-version)."""
    version = parse(text)
    if version is None:
        return f"a version in the form of Semantic Versioning 2.0.0, such as {NEWEST}"
    major, minor, patch, pre, _ = version
    if major != 1 or (minor == 0 and patch == 0 and pre):
        return f"a version from {OLDEST} to {NEWEST}, or a newer one of 1.x"
    return ""


def is_newer(text: str) -> bool:
    """Whether a supported version may have properties that aren't known here."""
    return int(text.split(".")[1]) > NEWEST_MINOR
