"""oci-conformance over pyrun in four ways: root and an ordinary user, with cgroups of systemd's, cgroupfs, and none."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from guest import RUNTIME, Host, eventually

REPOSITORY = os.environ["PYRUN_REPOSITORY"]
SUITE = Path(REPOSITORY) / "build/bin/oci-conformance"
WAYS = {
    "root, cgroupfs": ("root", ()),
    "root, systemd": ("root", ("--systemd-cgroup",)),
    "user, systemd": ("user", ("--systemd-cgroup",)),
    "user, no cgroups": ("user", ("--runtime-flag=--cgroup-manager=disabled",)),
}


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
def test_it_conforms(way: str) -> None:
    """Nothing that the specification demands fails, and no unit is left."""
    name, flags = WAYS[way]
    host = Host(name)
    host.seconds = 1500.0
    out = Path(f"/var/tmp/conformance-{way.replace(', ', '-').replace(' ', '-')}")
    out.mkdir(mode=0o777)
    host.chown(out)
    if host("test", "-r", str(SUITE)).returncode:
        pytest.skip(f"{name} may not read {REPOSITORY}: a folder above is closed to others")
    modules = f"PYTHONPATH={REPOSITORY}/conformance:{REPOSITORY}/spec"
    words = (
        "env",
        modules,
        sys.executable,
        str(SUITE),
        "run",
        "--runtime",
        str(RUNTIME),
        "--expect",
        "pyrun",
    )
    more = ("--timeout", "120", "--test-timeout", "300", "--jobs", "3", *flags)
    done = host(*words, *more)
    (out / "terminal").write_text(done.stdout + done.stderr)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    eventually(lambda: host.units("runc-*.scope") == [], "units are left")
