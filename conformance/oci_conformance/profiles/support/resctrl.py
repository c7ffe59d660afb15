"""resctrl, the kernel's file system for cache and memory bandwidth (Documentation/filesystems/resctrl.rst)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

TOP = Path("/sys/fs/resctrl")
PARTS = ("mon_groups", "info", "mon_data")


def parse(text: str) -> dict[tuple[str, str], int]:
    """Schemata: (resource, domain) -> value. Masks of caches are hexadecimal, bandwidths decimal."""
    found = {}
    for line in text.splitlines():
        resource, _, domains = line.strip().partition(":")
        for domain in filter(None, domains.split(";")):
            number, _, value = domain.partition("=")
            found[(resource, number.strip())] = int(value, 10 if resource.startswith("MB") else 16)
    return found


def schemata(group: Path) -> dict[tuple[str, str], int]:
    """What the schemata of a group are."""
    return parse((group / "schemata").read_text())


def write(values: dict[tuple[str, str], int], resource: str) -> str:
    """The line of schemata for one resource."""
    base = "d" if resource.startswith("MB") else "x"
    return f"{resource}:" + ";".join(
        f"{key[1]}={value:{base}}" for key, value in values.items() if key[0] == resource
    )


def smaller(resource: str, share: int) -> dict[tuple[str, str], int]:
    """Values for a resource that aren't the default's: about 1/share of what there is, as the hardware can do it.

    Empty where this machine hasn't the resource.
    """
    whole = {key: value for key, value in schemata(TOP).items() if key[0] == resource}
    info = TOP / "info" / resource
    if resource.startswith("MB"):
        step = int((info / "bandwidth_gran").read_text()) if whole else 1
        least = int((info / "min_bandwidth").read_text()) if whole else 1
        return {key: max(value // share // step * step, least) for key, value in whole.items()}
    least = int((info / "min_cbm_bits").read_text()) if whole else 1
    return {key: (1 << max(value.bit_length() // share, least)) - 1 for key, value in whole.items()}


def snapshot() -> dict[str, str]:
    """The schemata of every group, by its name."""
    groups = [TOP, *(path for path in TOP.iterdir() if path.is_dir() and path.name not in PARTS)]
    return {group.name: (group / "schemata").read_text() for group in groups}


def remove(group: Path) -> None:
    """Remove a group with its monitoring groups. Its processes fall back to the top."""
    with contextlib.suppress(OSError):
        for each in (*(group / "mon_groups").glob("*"), group):
            each.rmdir()


@contextlib.contextmanager
def group(name: str, *lines: str) -> Iterator[Path]:
    """A group of ours, for as long as the block runs."""
    path = TOP / name
    path.mkdir()
    try:
        for line in lines:
            (path / "schemata").write_text(line + "\n")
        yield path
    finally:
        remove(path)
