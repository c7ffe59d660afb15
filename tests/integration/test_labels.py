"""process.apparmorProfile, process.selinuxLabel and linux.mountLabel where no security module is active. (Where one is,
the tests in the virtual machine see the program confined.)"""

from __future__ import annotations

from collections.abc import Callable

import needs
import pytest
from bundles import Bundle, Pyrun


@pytest.fixture(autouse=True)
def _host() -> None:
    needs.no_security_modules()


@pytest.mark.parametrize(
    ("name", "module"),
    [("apparmorProfile", "AppArmor"), ("selinuxLabel", "SELinux")],
    ids=["apparmor", "selinux"],
)
def test_a_label_is_refused_by_name(
    pyrun: Pyrun, bundle: Callable[..., Bundle], name: str, module: str
) -> None:
    """A label that nobody would enforce is refused, and never ignored."""
    sentence = pyrun.refused(bundle({"process": {name: "some-label"}}))
    assert sentence.startswith(f"process.{name}: {module} isn't active on this host")


def test_a_label_of_mounts_is_refused_by_name(pyrun: Pyrun, bundle: Callable[..., Bundle]) -> None:
    """File systems that nobody would label are refused, too, by create and by validate."""
    one = bundle({"linux": {"mountLabel": "system_u:object_r:container_file_t:s0"}})
    sentence = pyrun.refused(one)
    assert sentence.startswith("linux.mountLabel: SELinux isn't active on this host")
    result = pyrun("validate", str(one.path))
    assert "linux.mountLabel" in result.out + result.err


def test_unconfined_asks_for_nothing(pyrun: Pyrun, bundle: Callable[..., Bundle]) -> None:
    """Engines say "unconfined" where they want no profile."""
    assert pyrun.output(bundle({"process": {"apparmorProfile": "unconfined"}}, sh="echo up")) == "up\n"


def test_validate_says_it(pyrun: Pyrun, bundle: Callable[..., Bundle]) -> None:
    """`validate` tells that the host lacks the module."""
    one = bundle({"process": {"apparmorProfile": "x"}})
    result = pyrun("validate", str(one.path))
    assert "process.apparmorProfile" in result.out + result.err
