"""A runtime that was called in a chroot: the container's root is the end of the way up all the same.

Who has CAP_SYS_CHROOT leaves a chroot by a folder above it. Under pivot_root(2) nothing is above the new root, but only
where the old root was the mount namespace's, which that of a process in a chroot isn't. The program here looks, and
changes nothing.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import needs
import pytest
from bundles import Bundle, Pyrun

# In a mount namespace of its own; the other root is a second view of the same tree.
CHROOT = 'mount --rbind / "$0" && mount --make-rprivate "$0" && exec chroot "$0" "$@"'
CLIMB = r"""
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
int main(int argc, char **argv) {
    struct stat found;
    int top = open("/", O_RDONLY | O_DIRECTORY);
    if (argc < 2 || top < 0 || chroot("/below") || fchdir(top))
        return 2;
    for (int up = 0; up < 64; up++)
        if (chdir(".."))
            return 3;
    if (chroot("."))
        return 4;
    puts(stat(argv[1], &found) ? "the end" : "outside");
    return 0;
}
"""


@pytest.fixture
def climber(tmp_path: Path) -> Path:
    needs.program("gcc")
    source = tmp_path / "climb.c"
    source.write_text(CLIMB)
    built = tmp_path / "climb"
    subprocess.run(["gcc", "-static", "-o", str(built), str(source)], check=True)
    return built


@pytest.mark.parametrize("options", [[], ["--no-pivot"]], ids=["pivot", "no-pivot"])
@pytest.mark.parametrize("place", ["chroot", "host"])
def test_nothing_is_above_the_containers_root(
    pyrun: Pyrun, bundle: Callable[..., Bundle], climber: Path, tmp_path: Path, place: str, options: list[str]
) -> None:
    """With CAP_SYS_CHROOT and from within a chroot of its own, a program climbs up: it finds no file of the host."""
    one = bundle({"root": {"readonly": False}, "process": {"args": ["/climb", str(climber)]}})
    (one.rootfs / "below").mkdir()
    (one.rootfs / "climb").hardlink_to(climber)
    capabilities = one.config["process"]["capabilities"]
    for kind in ("bounding", "effective", "permitted"):
        capabilities[kind] = [*capabilities[kind], "CAP_SYS_CHROOT"]
    if place == "chroot":
        folder = tmp_path / "root"
        folder.mkdir()
        pyrun.wrapper = ["unshare", "--mount", "--propagation", "private", "sh", "-c", CHROOT, str(folder)]
    result = pyrun("run", *options, "--bundle", str(one.write().path), pyrun.id())
    assert (result.code, result.out, result.err) == (0, "the end\n", "")
