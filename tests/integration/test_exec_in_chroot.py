"""exec runs its program in the container's root, wherever the runtime's caller has its own."""

from __future__ import annotations

import pytest

# In a mount namespace of its own; the other root is a second view of the same tree
CHROOT = 'mount --rbind / "$0" && mount --make-rprivate "$0" && exec chroot "$0" "$@"'


@pytest.fixture
def chroot(tmp_path):
    """The beginning of a command line that has another root."""
    folder = tmp_path / "root"
    folder.mkdir()
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", CHROOT, str(folder)]


@pytest.mark.parametrize("program", ["sleep 1000", "chroot /below sleep 1000"], ids=["plain", "chrooted"])
@pytest.mark.parametrize("executed", ["inside", "outside"])
@pytest.mark.parametrize("created", ["inside", "outside"])
def test_the_containers_root(pyrun, bundle, chroot, created, executed, program):
    """Created and entered from a chroot or not, with a program that stays in the root or chroots further: the program
    of exec has the root of the container."""
    one = bundle({"root": {"readonly": False}}, sh=f"exec {program}")
    (one.rootfs / "mark").touch()
    (one.rootfs / "below/bin").mkdir(parents=True)
    (one.rootfs / "below/bin/sleep").hardlink_to(one.rootfs / "bin/busybox")
    capabilities = one.config["process"]["capabilities"]
    for kind in ("bounding", "effective", "permitted"):
        capabilities[kind] = [*capabilities[kind], "CAP_SYS_CHROOT"]
    pyrun.wrapper = chroot if created == "inside" else []
    container = pyrun.start(one.write())
    pyrun.wrapper = chroot if executed == "inside" else []
    result = container.exec(("ls", "/mark", "/below"))
    pyrun.wrapper = []
    container.delete("--force")
    assert (result.code, result.err, result.out) == (0, "", "/mark\n\n/below:\nbin\n")
