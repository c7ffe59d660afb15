"""A namespace that is given by a path and is the host's own: nothing is changed in it, whatever the path looks like.

The "host" is a throw-away one: the runtime is called in new namespaces, so that even a runtime that is wrong harms
nobody.
"""

from __future__ import annotations

import json

import needs
import pytest

FILES = {"network": "net", "ipc": "ipc", "uts": "uts"}

# JSON path of what would change the host -> namespace's type, change of the configuration, how the host shows it
CHANGES = {
    'linux.sysctl["net.ipv4.ip_default_ttl"]': (
        "network",
        {"linux": {"sysctl": {"net.ipv4.ip_default_ttl": "77"}}},
        "cat /proc/sys/net/ipv4/ip_default_ttl",
    ),
    'linux.sysctl["net/ipv4/ip_default_ttl"]': (
        "network",
        {"linux": {"sysctl": {"net/ipv4/ip_default_ttl": "77"}}},
        "cat /proc/sys/net/ipv4/ip_default_ttl",
    ),
    'linux.sysctl["kernel.msgmax"]': (
        "ipc",
        {"linux": {"sysctl": {"kernel.msgmax": "7777"}}},
        "cat /proc/sys/kernel/msgmax",
    ),
    'linux.sysctl["fs.mqueue.msg_max"]': (
        "ipc",
        {"linux": {"sysctl": {"fs.mqueue.msg_max": "7"}}},
        "cat /proc/sys/fs/mqueue/msg_max",
    ),
    'linux.sysctl["kernel.domainname"]': (
        "uts",
        {"hostname": None, "linux": {"sysctl": {"kernel.domainname": "changed"}}},
        "cat /proc/sys/kernel/domainname",
    ),
    "hostname": ("uts", {"hostname": "changed"}, "hostname"),
    "domainname": (
        "uts",
        {"hostname": None, "domainname": "changed"},
        "cat /proc/sys/kernel/domainname",
    ),
}
# $1 shows the value, and the rest is the runtime's command line. A change becomes a second line on standard error.
WATCH = (
    'show=$1; shift; before=$(eval "$show"); "$@"; code=$?; '
    '[ "$before" = "$(eval "$show")" ] || echo "the host was changed" >&2; exit $code'
)
NEW = ["unshare", "--net", "--ipc", "--uts", "--mount", "--propagation", "private"]
PATHS = ("the caller's", "the caller's, by a bind mount", "the first process's")


def hosts(pyrun, how, name, show):
    """Let the runtime be called in a throw-away host; the path by which a container joins the host's namespace."""
    needs.program("unshare", "mount")
    if how == "the caller's":
        pyrun.wrapper = [*NEW, "sh", "-c", WATCH, "sh", show]
        return f"/proc/self/ns/{name}"
    if how == "the first process's":
        pid = ["--pid", "--fork", "--kill-child", "--mount-proc"]
        others = ["unshare", "--net", "--ipc", "--uts"]
        pyrun.wrapper = [*NEW, *pid, "sh", "-c", WATCH, "sh", show, *others]
        return f"/proc/1/ns/{name}"
    path = pyrun.folder / "namespace"
    bind = f'touch "$0" && mount --bind /proc/self/ns/{name} "$0" || exit 9; '
    pyrun.wrapper = [*NEW, "sh", "-c", bind + WATCH, str(path), show]
    return str(path)


@pytest.mark.parametrize("how", PATHS)
@pytest.mark.parametrize("json_path", CHANGES)
def test_host_is_not_changed(pyrun, bundle, json_path, how):
    """What would change a setting of the host is refused by name, in `create` and in `validate`."""
    kind, changes, show = CHANGES[json_path]
    path = hosts(pyrun, how, FILES[kind], show)
    one = bundle(changes).namespace(kind, path)
    sentence = pyrun.refused(one)
    assert sentence.startswith(f"{json_path}: the {kind} namespace {path} is the host's")
    found = json.loads(pyrun("validate", "--format", "json", str(one.path)).out)
    assert [each["path"] for each in found if each["severity"] == "error"] == [json_path]


@pytest.mark.parametrize("kind", ["mount", "user"])
def test_hosts_that_are_never_joined(pyrun, bundle, kind):
    """The host's mounts would be changed, and its user namespace can't be joined again: both are refused by name."""
    needs.program("unshare", "mount")
    path = hosts(pyrun, "the caller's, by a bind mount", "user", "true")
    if kind == "mount":
        path = "/proc/self/ns/mnt"
    one = bundle().namespace(kind, path)
    sentence = pyrun.refused(one)
    assert sentence.startswith("linux.namespaces[")
    assert f"the {kind} namespace {path} is the host's" in sentence


@pytest.mark.parametrize("kind", ["network", "ipc", "uts"])
def test_sharing_the_hosts(pyrun, bundle, kind):
    """The host's namespace by a path is joined where nothing is to be changed in it."""
    path = hosts(pyrun, "the caller's, by a bind mount", FILES[kind], "true")
    one = bundle({"hostname": None}).namespace(kind, path)
    one.config["mounts"] = [mount for mount in one.config["mounts"] if mount["type"] != "sysfs"]
    assert pyrun.output(one.args("echo", "shared")) == "shared\n"


def test_anothers_namespace_is_changed(pyrun, bundle):
    """A namespace that is joined and isn't the host's gets its settings: what pods do."""
    needs.program("unshare")
    script = (
        'unshare --net --uts sleep 1000 & trap "kill $!" EXIT; '
        'until [ "$(cat /proc/$!/comm)" = sleep ]; do sleep 0.01; done; ln -s /proc/$!/ns "$0"; "$@"'
    )
    path = pyrun.folder / "namespaces"
    pyrun.wrapper = ["sh", "-c", script, str(path)]
    one = bundle({"linux": {"sysctl": {"net.ipv4.ip_default_ttl": "77"}}})
    one.namespace("network", f"{path}/net").namespace("uts", f"{path}/uts")
    assert pyrun.output(one.sh("cat /proc/sys/net/ipv4/ip_default_ttl; hostname")) == "77\npyrun\n"
