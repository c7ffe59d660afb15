"""Users of a container: the parser of `--user` and of its /etc/passwd and /etc/group, whatever these hold."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyrun.base.errors import PyrunError, render
from pyrun.features import users

PASSWD = "root:x:0:0::/root:/bin/sh\ndove:x:77:78:Dove:/nest:/bin/sh\n"
GROUP = "root:x:0:\nbirds:x:80:owl,dove\nsongs:x:81:dove\nfish:x:90:cod,dover\n"
CONFIGURED = {"uid": 1, "gid": 2, "additionalGids": [3], "umask": 18}

Files = Callable[..., int]


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    """Makes a root with these two files (None for no file), and returns a descriptor of it."""
    opened = []
    (tmp_path / "etc").mkdir()

    def make(passwd: str | bytes | None = PASSWD, group: str | bytes | None = GROUP) -> int:
        for name, text in (("passwd", passwd), ("group", group)):
            path = tmp_path / "etc" / name
            path.unlink(missing_ok=True)
            if text is not None:
                path.write_bytes(text.encode() if isinstance(text, str) else text)
        opened.append(os.open(tmp_path, os.O_PATH | os.O_DIRECTORY))
        return opened[-1]

    yield make
    for fd in opened:
        os.close(fd)


def who(slash: int, text: str) -> tuple[int, int, list[int]]:
    """uid, gid and supplementary groups; what isn't about them is kept."""
    found = users.resolve(slash, text, CONFIGURED)
    assert found["umask"] == 18
    return found["uid"], found["gid"], found["additionalGids"]


def test_numbers_and_names(files: Files) -> None:
    """A number keeps the configured groups, a name brings its own."""
    slash = files()
    assert who(slash, "5") == (5, 2, [3])
    assert who(slash, "5:6") == (5, 6, [3])
    assert who(slash, "007:0") == (7, 0, [3])
    assert who(slash, "4294967294") == (4294967294, 2, [3])
    assert who(slash, "dove") == (77, 78, [80, 81])
    assert who(slash, "dove:fish") == (77, 90, [80, 81])
    assert who(slash, "dove:6") == (77, 6, [80, 81])
    assert who(slash, "5:birds") == (5, 80, [3])
    assert CONFIGURED == {"uid": 1, "gid": 2, "additionalGids": [3], "umask": 18}


@pytest.mark.parametrize("text", ["-5", "+5", "99999999999", "4294967295", "", ":", "5:", ":5", "5:-1",
                                  "5:6:7", "5:99999999999", "owl", "5:owls", " 5", "5 ", "0x5", "5\n", "\u0665",
                                  "\u00b2", "Dove", "dove\r",
                                  "-", "+", "dov", "root\n", "\0", "/etc/passwd", "*", "#"])  # fmt: skip
def test_refused(files: Files, text: str) -> None:
    """What is no user is an error in one printable line, and nobody else."""
    with pytest.raises(PyrunError) as caught:
        users.resolve(files(), text, CONFIGURED)
    assert caught.value.sentence.startswith("--user: ")
    assert render(caught.value).isprintable()


@pytest.mark.parametrize(
    "passwd",
    [
        None,
        "",
        "\n\n\n",
        "dove",
        "dove:x",
        "dove:x:0",
        "dove:x::78::/:/bin/sh",
        "dove:x:0:::/:/bin/sh",
        "dove:x:-1:0::/:/bin/sh",
        "dove:x:+0:0::/:/bin/sh",
        "dove:x: 0:0::/:/bin/sh",
        "dove:x:0x0:0::/:/bin/sh",
        "dove:x:99999999999:0::/:/bin/sh",
        "dove:x:4294967295:0::/:/bin/sh",
        "dove:x:77:4294967296::/:/bin/sh",
        "dove:x:\u0660:0::/:/bin/sh",
        "dove:x:\u00b2:0::/:/bin/sh",
        "dove:x:0\r:0::/:/bin/sh",
        "dove:x:77:78\r",
        " dove:x:0:0::/:/bin/sh",
        "#dove:x:0:0::/:/bin/sh",
        "dove\r:x:0:0::/:/bin/sh",
        b"\xffdove:x:0:0::/:/bin/sh",
        b"\0dove:x:0:0::/:/bin/sh",
        "+dove:x:0:0::/:/bin/sh",
        "+::0:0:::\n",
    ],
)  # fmt: skip
def test_hostile_passwd(files: Files, passwd: str | bytes | None) -> None:
    """A line that can't be understood makes nobody root."""
    with pytest.raises(PyrunError):
        users.resolve(files(passwd), "dove", CONFIGURED)


def test_first_whole_line_counts(files: Files) -> None:
    """A torn line of the same name is passed over; of two whole ones the first counts, as in getpwnam(3)."""
    assert who(files("dove:x\ndove:x:5:6::/:\ndove:x:0:0::/:\n", ""), "dove") == (5, 6, [])
    assert who(files("a" * 10000 + "\ndove:x:5:6"), "dove")[:2] == (5, 6)


@pytest.mark.parametrize(
    "group", [None, "", "dove", "birds:x:80", "birds:x:80:dov,dover, dove,\n", b"\xff:\xff:\xff:\xff"]
)
def test_groups_that_say_nothing(files: Files, group: str | bytes | None) -> None:
    """No supplementary group comes of these files, and no error."""
    assert who(files(group=group), "dove") == (77, 78, [])


@pytest.mark.parametrize("gid", ["-1", "", "x", "99999999999", "4294967295", "80\r", "\u0668"])
def test_hostile_group(files: Files, gid: str) -> None:
    """A group of the user whose id makes no sense is an error."""
    with pytest.raises(PyrunError, match="id"):
        users.resolve(files(group=f"birds:x:{gid}:dove\n"), "dove", CONFIGURED)


@pytest.mark.parametrize("kind", ["link outside", "absolute link", "loop", "magic link", "fifo", "folder", "huge",
                                  "device", "etc is a link"])  # fmt: skip
def test_odd_files(tmp_path: Path, kind: str) -> None:
    """Only a regular file below the root is read, and a long one isn't; nothing here blocks."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "passwd").write_text("dove:x:0:0::/out:/bin/sh\n")
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    path = root / "etc/passwd"
    if kind == "link outside":
        path.symlink_to("../../outside/passwd")
    elif kind == "absolute link":
        path.symlink_to(outside / "passwd")
    elif kind == "loop":
        path.symlink_to("passwd")
    elif kind == "magic link":
        path.symlink_to("/proc/self/fd/0")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "huge":
        with path.open("w") as file:
            file.truncate(1 << 40)
    elif kind == "device":
        if os.geteuid():
            pytest.skip("needs root to make a device")
        os.mknod(path, 0o020666, os.makedev(1, 5))  # /dev/zero
    else:
        (root / "etc").rmdir()
        (root / "etc").symlink_to("../outside")
    slash = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        with pytest.raises(PyrunError, match="looking up the user"):
            users.resolve(slash, "dove", CONFIGURED)
        assert users.resolve(slash, "5:6", CONFIGURED)["uid"] == 5
        assert users.home(slash, 0) == "/"
    finally:
        os.close(slash)


def test_home(files: Files) -> None:
    """By number, absolute, else "/"."""
    assert users.home(files(), 77) == "/nest"
    assert users.home(files(), 5) == "/"
    for line in (
        "dove:x:77:78",
        "d:x:77:78::nest:",
        "d:x:77:78:::",
        "d:x:077:78::/nest:",
        "d:x:77 :78::/nest:",
        "d::",
    ):
        assert users.home(files(line), 77) == "/", line
    assert users.home(files(None), 77) == "/"
    assert users.home(files("d:x:77:78::/a\0b:\ne:x:77:78::/good:"), 77) == "/good"
    assert users.home(files("d:x:77:78::/" + "a" * 5000 + ":"), 77) == "/"


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.sampled_from("0159-+:rot x\0\n\r\u0660\u00b2"), max_size=14))
def test_any_text(files: Files, text: str) -> None:
    """Any text is a user that it names, or an error."""
    slash = files()
    try:
        uid, gid, _ = who(slash, text)
    except PyrunError:
        return
    name, _, group = text.partition(":")
    assert name == "root" or int(name) == uid
    if group:
        assert group == "root" or int(group) == gid


LINE = st.lists(st.text(st.sampled_from("dove0179-:\r\0 \u0660"), max_size=6), max_size=8).map(":".join)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(passwd=st.lists(LINE, max_size=5), group=st.lists(LINE, max_size=5))
def test_any_files(files: Files, passwd: list[str], group: list[str]) -> None:
    """Whatever the files hold: an id comes from a line of that name, as a plain number, or there is an error."""
    slash = files("\n".join(passwd), "\n".join(group))
    try:
        uid, gid, gids = who(slash, "dove")
    except PyrunError:
        return
    lines = [line.split(":") for line in passwd]
    assert [line for line in lines if line[0] == "dove" and int(line[2]) == uid and int(line[3]) == gid]
    for line in [text.split(":") for text in group]:
        if len(line) > 3 and "dove" in line[3].split(","):
            assert int(line[2]) in gids
    assert all(0 <= each <= users.LARGEST_ID for each in (uid, gid, *gids))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(passwd=st.binary(max_size=200), uid=st.integers(0, 2))
def test_any_home(files: Files, passwd: bytes, uid: int) -> None:
    """HOME is an absolute path that an environment can hold."""
    home = users.home(files(passwd + b"\nx:x:0:0::" + passwd + b":\n"), uid)
    assert home[0] == "/"
    assert "\0" not in home
    assert "\n" not in home
