"""linux.resources.rdma: config-linux.md § RDMA; kernel: cgroup-v1/rdma.rst, cgroup-v2.rst § RDMA. Hot module.

The files have the same names and contents in v1 and v2.
"""

from __future__ import annotations

from pyrun.base.errors import PyrunError
from pyrun.cgroups import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrun.cgroups.files import Write

PATH = "linux.resources.rdma"
LIMITS = (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object"))
MOST = (1 << 31) - 1  # the kernel counts by int, and takes this for unlimited


def v1(rdma: dict[str, dict[str, int]], directory: str = "") -> list[Write]:
    """A line for each device, with the limits that are given; 0 is a limit like any other. Raises
    PyrunError for what can't be a device's name."""
    writes: list[Write] = []
    for name, entry in rdma.items():
        if name.split() != [name]:
            raise PyrunError(f"{name!r} is not the name of an RDMA device", PATH)
        limits = [(word, entry[key]) for key, word in LIMITS if key in entry]
        words = [f"{word}={number if number < MOST else 'max'}" for word, number in limits]
        writes.append(("rdma.max", " ".join([name, *words]), f'{PATH}["{name}"]', False))
    return writes


v2 = v1


def stats(directory: str) -> dict[str, Any]:
    """What is used of each device, and the limits, in libcontainer's words; nothing where there is no such device."""
    found = {}
    for key, file in (("rdma_limit", "rdma.max"), ("rdma_current", "rdma.current")):
        lines = [line.split() for line in files.text(f"{directory}/{file}").split("\n")] if directory else []
        if entries := [_entry(words) for words in lines if words]:
            found[key] = entries
    return found


def _entry(words: list[str]) -> dict[str, Any]:
    """ "mlx5_0 hca_handle=2 hca_object=max"."""
    counts = {key: value for key, _, value in [word.partition("=") for word in words[1:]]}
    numbers = {key: (1 << 32) - 1 if value == "max" else int(value) for key, value in counts.items()}
    return {
        "device": words[0],
        "hca_handles": numbers.get("hca_handle", 0),
        "hca_objects": numbers.get("hca_object", 0),
    }
