"""What travels: CVE-2021-43784 was a length that wrapped around in a message from the runtime to its child.

And what is said of names that an image or a configuration brings: one printable line, whatever is in them.
"""

from __future__ import annotations

import json

import pytest
from bundles import new_id

TERMINAL = "\x1b]0;title\x07\x1b[2J\r\nfake: line\u202e\u2028\x9b"


@pytest.mark.parametrize("size", [255, 4096, 65535, 65536, 65537, 70000, 131072, 300000])
def test_long_names(pyrun, bundle, size):
    """A name of any length in an error of the child arrives as one sentence."""
    one = bundle()
    one.mount("/" + "x" * size, "tmpfs", "tmpfs")
    assert pyrun.run(one).code == (0 if size == 255 else 1)
    if size > 255:
        assert "mounts[" in pyrun.refused(one)


@pytest.mark.parametrize("count", [100, 5000])
def test_many_and_long_lists(pyrun, bundle, count):
    """Orders of any size arrive at stage 2 whole: the last argument and the last variable are there."""
    one = bundle(
        {"process": {"env": [f"V{n}={'x' * 20}" for n in range(count)] + ["LAST=variable", "PATH=/bin"]}}
    )
    one.args("sh", "-c", 'echo $LAST $#; eval "echo \\${$#}"', "sh", *[f"argument{n}" for n in range(count)])
    assert pyrun.output(one).split() == ["variable", str(count), f"argument{count - 1}"]


def test_groups_at_the_border_of_16_bits(pyrun, bundle):
    """As many groups as the kernel takes, and one more."""
    groups = list(range(10, 10 + 65536))
    one = bundle({"process": {"user": {"uid": 0, "gid": 0, "additionalGids": groups}}}, sh="id -G | wc -w")
    assert int(pyrun.output(one)) >= 65536
    one.config["process"]["user"]["additionalGids"] = [*groups, 9]
    one.write()
    assert "process.user.additionalGids" in pyrun.refused(one)


def test_terminal_escapes(pyrun, bundle):
    """Names with control characters in errors of the parent, the child, stage 2, hooks and in the log."""
    bundles = [
        bundle({"process": {"cwd": f"/bin/busybox/{TERMINAL}"}}),
        bundle().args(f"/{TERMINAL}"),
        bundle({"hostname": TERMINAL * 9}),
        bundle().mount(f"/proc/{TERMINAL}", "tmpfs", "tmpfs"),
        bundle({"root": {"path": TERMINAL}}),
        bundle().hook("createRuntime", f"printf '{TERMINAL}' >&2; exit 3"),
        bundle().hook("createContainer", f"printf '{TERMINAL}' >&2; exit 3"),
    ]
    script = bundle().args("/script")
    script.script("/script", f"#!/{TERMINAL.splitlines()[0]}\n")
    inside = bundle()
    inside.config["hooks"] = {
        "startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", f"printf '{TERMINAL}'; exit 3"]}]
    }
    for one in (*bundles, script, inside.write()):
        log = pyrun.folder / "log"
        log.unlink(missing_ok=True)
        result = pyrun("--log", str(log), "--log-format", "json", "run", "-b", str(one.path), new_id())
        assert result.code == 1
        text = result.err.removesuffix("\n")
        assert text.isprintable(), text
        assert "internal error" not in text
        record = json.loads(log.read_text().splitlines()[-1])
        assert text == f"pyrun: {record['msg']}"
        assert log.read_bytes().decode().replace("\n", "").isprintable()


def test_a_hook_that_never_stops_talking(pyrun, bundle):
    """Its last words are quoted, the rest is not kept."""
    one = bundle().hook("createRuntime", "yes 0123456789 | head -c 20000000; echo end; exit 3")
    sentence = pyrun.refused(one)
    assert sentence.endswith("end")
    assert len(sentence) < 2000


def test_names_that_are_not_utf8(pyrun, bundle):
    """A link of the image may lead to any bytes."""
    one = bundle({"root": {"readonly": False}}, sh="ls /made* | wc -l")
    (one.rootfs / "link").symlink_to(b"/made\xff\xfe".decode(errors="surrogateescape"))
    one.mount("/link/x", "tmpfs", "tmpfs")
    assert pyrun.output(one).split() == ["1"]
