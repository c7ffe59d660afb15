"""The cache of compiled seccomp filters: whoever changes it must not get a container without its filter.

Units are in tests/unit/test_seccomp_cache.py; here a container is run after each attempt, and must be filtered.
"""

from __future__ import annotations

import os

import pytest

ATTEMPTS = [
    "nothing",
    "another's",
    "for all",
    "link",
    "cut",
    "flipped",
    "permissive",
    "fifo",
    "folder",
    "own folder",
]


def profile(action: str):
    """A filter that decides on mkdir."""
    rule = {"names": ["mkdir", "mkdirat"], "action": action, "errnoRet": 88}
    return {"defaultAction": "SCMP_ACT_ALLOW", "architectures": [], "syscalls": [rule] if action else []}


def cached(pyrun):
    """The files of the cache."""
    return sorted((pyrun.root / ".seccomp").iterdir())


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_the_filter_holds(pyrun, bundle, tmp_path, attempt):
    """ENOTSOCK (88) for mkdir, whatever was done to the cache before."""
    strict = bundle({"linux": {"seccomp": profile("SCMP_ACT_ERRNO")}}, sh="mkdir /dev/x || echo held")
    permissive = bundle({"linux": {"seccomp": {**profile(""), "defaultErrnoRet": None}}})
    permissive.config["linux"]["seccomp"].pop("defaultErrnoRet")
    permissive.write()
    pyrun.root.mkdir(mode=0o700)
    assert pyrun.run(strict).lines() == ["held"]
    (file,) = cached(pyrun)
    data = file.read_bytes()
    assert pyrun.run(permissive).code == 0
    (other,) = set(cached(pyrun)) - {file}
    if attempt == "another's":
        file.write_bytes(other.read_bytes())
        os.chown(file, 65534, 65534)
    elif attempt == "for all":
        file.chmod(0o666)
    elif attempt == "link":
        (tmp_path / "elsewhere").write_bytes(other.read_bytes())
        file.unlink()
        file.symlink_to(tmp_path / "elsewhere")
    elif attempt == "cut":
        file.write_bytes(data[:-8])
    elif attempt == "flipped":
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif attempt == "permissive":
        file.write_bytes(other.read_bytes())
    elif attempt == "fifo":
        file.unlink()
        os.mkfifo(file)
    elif attempt == "folder":
        file.unlink()
        file.mkdir()
    elif attempt == "own folder":
        os.chown(file.parent, 65534, 65534)
    result = pyrun.run(strict, time_limit=20)
    assert (result.code, result.lines()) == (0, ["held"]), result
    if attempt == "own folder":
        os.chown(file.parent, 0, 0)


def test_the_cache_is_private(pyrun, bundle):
    """Folder 0700, files 0600, also with a caller whose umask is 0."""
    pyrun.root.mkdir(mode=0o700)
    pyrun.run(bundle({"linux": {"seccomp": profile("SCMP_ACT_ERRNO")}}), umask=0)
    assert (pyrun.root / ".seccomp").stat().st_mode & 0o777 == 0o700
    for each in cached(pyrun):
        assert each.stat().st_mode & 0o777 == 0o600
