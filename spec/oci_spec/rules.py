"""What a table can't say: the configuration's rules across properties and on the inside of values.

`faults` yields every violation; `check` raises the first one. Both expect a document that config.parse has
accepted. What the specification only advises against is a warning (`warnings`).
Rules on `linux.resources`, `seccomp` and the properties added since 1.1 are in linux_rules.
"""

from __future__ import annotations

from oci_spec import linux_rules, names, version
from oci_spec.fields import LARGEST_ID, ConfigError, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    Document = dict[str, Any]
    Parts = tuple[str | int, ...]

# linux.sysctl: names that belong to a namespace (namespaces(7), ipc_namespaces(7), proc(5)).
IPC_SYSCTLS = (
    "kernel.auto_msgmni",
    "kernel.msg_next_id",
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.sem_next_id",
    "kernel.shm_next_id",
    "kernel.shm_rmid_forced",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
)


def check(document: Document) -> None:
    """Raise the first violation as a ConfigError."""
    for fault in faults(document):
        raise fault


def faults(document: Document) -> Iterator[ConfigError]:
    """Every violation of a rule, in the order of the rules."""
    yield from version_faults(document)
    linux = document.get("linux") or {}
    namespaces: dict[str, str] = {}
    yield from namespace_faults(linux, namespaces)
    yield from uts_faults(document, namespaces)
    if "process" in document:
        yield from process_faults(document["process"])
    yield from annotation_faults(document)
    user = "user" in namespaces
    for index, mount in enumerate(document.get("mounts", ())):
        yield from mount_faults(mount, ("mounts", index), user)
    yield from user_namespace_faults(linux, namespaces)
    for key in ("uidMappings", "gidMappings"):
        if linux.get(key) and user:
            yield from unmapped_faults(document, key[:3], linux[key])
    if "sysctl" in linux:
        for key in linux["sysctl"]:
            yield from sysctl_faults(key, namespaces)
    yield from linux_rules.faults(linux, namespaces)
    yield from pids_faults(document.get("ociVersion", ""), (linux.get("resources") or {}).get("pids"))


def version_faults(document: Document) -> Iterator[ConfigError]:
    """config.md#specification-version"""
    if "ociVersion" in document:
        wanted = version.wanted(document["ociVersion"])
        if wanted:
            found = show(document["ociVersion"])
            yield ConfigError(found, wanted, "config.md#specification-version", ("ociVersion",))


def pids_faults(text: str, pids: Document | None) -> Iterator[ConfigError]:
    """config-linux.md#pids: the limit is optional since 1.3.0."""
    parsed = version.parse(text)
    if pids is not None and "limit" not in pids and parsed is not None and parsed[:2] < (1, 3):
        parts = ("linux", "resources", "pids", "limit")
        yield ConfigError("nothing", "a value: before 1.3.0 it is required", "config-linux.md#pids", parts)


def version_warnings(document: Document) -> Iterator[str]:
    """config.md#specification-version: a newer minor version is compatible but for what it has added."""
    text = document.get("ociVersion", "")
    if text and not version.wanted(text) and version.is_newer(text):
        yield f"ociVersion: {show(text)} is newer than {version.NEWEST}: what it has added is ignored"


def namespace_faults(linux: Document, namespaces: dict[str, str]) -> Iterator[ConfigError]:
    """config-linux.md#namespaces: no type twice. Fills `namespaces`: type to path, "" for a new one."""
    for index, namespace in enumerate(linux.get("namespaces", ())):
        kind = namespace["type"]
        if kind in namespaces:
            yield ConfigError(
                f"a second {kind} namespace",
                "one of each type at most",
                "config-linux.md#namespaces",
                ("linux", "namespaces", index, "type"),
            )
        namespaces[kind] = namespace.get("path", "")


def uts_faults(document: Document, namespaces: dict[str, str]) -> Iterator[ConfigError]:
    """config.md#hostname, config.md#domainname: they belong to a UTS namespace, never the host's."""
    for key in ("hostname", "domainname"):
        text = document.get(key, "")
        if text and "uts" not in namespaces:
            yield ConfigError(
                show(text), "a uts namespace in linux.namespaces to set it in", "config.md#" + key, (key,)
            )
        if len(text.encode()) > 64:
            yield ConfigError(show(text), "64 bytes at most", "config.md#" + key, (key,))


def process_faults(process: Document) -> Iterator[ConfigError]:
    """config.md#process, config.md#posix-process, config.md#linux-process"""
    if process.get("terminal") and "consoleSize" in process:
        for key, cells in process["consoleSize"].items():
            if key in ("height", "width") and cells > 65535:
                yield ConfigError(
                    show(cells), "65535 at most", "config.md#process", ("process", "consoleSize", key)
                )
    seen: tuple[str, ...] = ()
    for index, limit in enumerate(process.get("rlimits", ())):
        kind = limit["type"]
        if kind in seen:
            yield ConfigError(
                f"{kind} twice",
                "one entry of a type at most",
                "config.md#posix-process",
                ("process", "rlimits", index, "type"),
            )
        if limit["soft"] > limit["hard"]:
            yield ConfigError(
                show(limit["soft"]),
                f"a soft limit that is not above the hard one, {limit['hard']}",
                "config.md#posix-process",
                ("process", "rlimits", index, "soft"),
            )
        seen += (kind,)
    if "scheduler" in process:
        yield from linux_rules.scheduler_faults(process["scheduler"])
    if "execCPUAffinity" in process:
        yield from linux_rules.cpu_affinity_faults(process["execCPUAffinity"])


def annotation_faults(document: Document) -> Iterator[ConfigError]:
    """config.md#annotations"""
    if "" in document.get("annotations", ()):
        yield ConfigError('""', "a key that is not empty", "config.md#annotations", ("annotations", ""))


def mount_faults(mount: Document, parts: Parts, user: bool) -> Iterator[ConfigError]:
    """config.md#posix-platform-mounts, config.md#linux-mount-options; `user`: there is a user namespace."""
    for index, option in enumerate(mount.get("options", ())):
        for part in option.split(","):
            if part[:4] in ("uid=", "gid=") and (number_of(part[4:]) > LARGEST_ID or part[4:] == "-1"):
                wanted = f"an id, {LARGEST_ID} at most"
                section = "config.md#linux-mount-options"
                yield ConfigError(show(option), wanted, section, (*parts, "options", index))
    uids = mount.get("uidMappings")
    gids = mount.get("gidMappings")
    if uids or gids:
        section = "config.md#posix-platform-mounts"
        if not gids:
            yield ConfigError(
                "nothing", "gidMappings to go with uidMappings", section, (*parts, "gidMappings")
            )
        if not uids:
            yield ConfigError(
                "nothing", "uidMappings to go with gidMappings", section, (*parts, "uidMappings")
            )
        yield from mapping_faults(uids or (), (*parts, "uidMappings"))
        yield from mapping_faults(gids or (), (*parts, "gidMappings"))
    elif not user:
        options = mount.get("options", ())
        if "idmap" in options or "ridmap" in options:
            option = "idmap" if "idmap" in options else "ridmap"
            yield ConfigError(
                show(option),
                "uidMappings and gidMappings, or a user namespace, to go with it",
                "config.md#linux-mount-options",
                (*parts, "options", options.index(option)),
            )


def user_namespace_faults(linux: Document, namespaces: dict[str, str]) -> Iterator[ConfigError]:
    """config-linux.md#user-namespace-mappings; user_namespaces(7)"""
    section = "config-linux.md#user-namespace-mappings"
    for key in ("uidMappings", "gidMappings"):
        mappings = linux.get(key, ())
        parts = ("linux", key)
        if mappings and "user" not in namespaces:
            yield ConfigError("mappings", "a user namespace in linux.namespaces to have them", section, parts)
        if not mappings and namespaces.get("user") == "":
            yield ConfigError(
                "no mappings", "some: without them no user of a new namespace exists", section, parts
            )
        yield from mapping_faults(mappings, parts)


def unmapped_faults(document: Document, kind: str, mappings: Sequence[Document]) -> Iterator[ConfigError]:
    """Ids of one kind, "uid" or "gid", that don't exist in the user namespace: user_namespaces(7)."""
    for number, parts in ids(document, kind):
        if not any(0 <= number - each["containerID"] < each["size"] for each in mappings):
            wanted = f"an id that linux.{kind}Mappings has: it does not exist in the user namespace"
            yield ConfigError(show(number), wanted, "config-linux.md#user-namespace-mappings", parts)


def ids(document: Document, kind: str) -> Iterator[tuple[int, Parts]]:
    """Every id of the container that a document names, with its place. Of mounts, those that the kernel checks."""
    user = (document.get("process") or {}).get("user") or {}
    if kind in user:
        yield user[kind], ("process", "user", kind)
    if kind == "gid":
        for index, gid in enumerate(user.get("additionalGids", ())):
            yield gid, ("process", "user", "additionalGids", index)
    for index, device in enumerate((document.get("linux") or {}).get("devices", ())):
        if device.get(kind):
            yield device[kind], ("linux", "devices", index, kind)
    for index, mount in enumerate(document.get("mounts", ())):
        if mount.get("type") in ("tmpfs", "devpts"):
            for at, option in enumerate(mount.get("options", ())):
                if option[:4] == kind + "=" and number_of(option[4:]) >= 0:
                    yield number_of(option[4:]), ("mounts", index, "options", at)


def number_of(text: str) -> int:
    """A mount option's number as the kernel reads it, in base 8, 10 or 16; -1 if it is none."""
    digits = text.lower().removeprefix("0x")
    base, known = (16, "0123456789abcdef") if digits != text.lower() else (10, "0123456789")
    if base == 10 and text[:1] == "0":
        base, known = 8, "01234567"
    return int(digits, base) if digits and len(digits) < 20 and not digits.strip(known) else -1


def mapping_faults(mappings: Sequence[Mapping[str, Any]], parts: Parts) -> Iterator[ConfigError]:
    """What the kernel refuses in a uid_map (user_namespaces(7)): empty, wrapping, overlapping ranges."""
    section = "config-linux.md#user-namespace-mappings"
    for index, mapping in enumerate(mappings):
        if mapping["size"] == 0:
            yield ConfigError("0", "a size above 0", section, (*parts, index, "size"))
        for key in ("containerID", "hostID"):
            start = mapping[key]
            end = start + mapping["size"]
            if end > 0xFFFFFFFF:
                yield ConfigError(
                    show(start), "an ID range that ends below 4294967295", section, (*parts, index, key)
                )
            for other in mappings[:index]:
                if start < other[key] + other["size"] and other[key] < end:
                    yield ConfigError(
                        show(start), "ranges that do not overlap", section, (*parts, index, key)
                    )
                    break


def sysctl_faults(key: str, namespaces: dict[str, str]) -> Iterator[ConfigError]:
    """config-linux.md#sysctl: a name must be one, and belong to a namespace that the container doesn't share."""
    section = "config-linux.md#sysctl"
    parts = ("linux", "sysctl", key)
    pieces = key.replace("/", ".").split(".")
    if "" in pieces or len(pieces) < 2:
        yield ConfigError(
            show(key), "the name of a kernel parameter, such as net.ipv4.ip_forward", section, parts
        )
        return
    kind = sysctl_namespace(key)
    if not kind:
        yield ConfigError(
            show(key), "a parameter that belongs to a namespace: this is the host's", section, parts
        )
    elif kind not in namespaces:
        yield ConfigError(show(key), f"a {kind} namespace in linux.namespaces to set it in", section, parts)


def sysctl_namespace(key: str) -> str:
    """The type of namespace that a kernel parameter belongs to; "" if it is the whole host's.

    Names are written with dots or with slashes; where the first separator is a dot, slashes inside a part
    stand for dots of an interface's name (sysctl(8)).
    """
    slash = key.find("/")
    dot = key.find(".")
    dotted = key.replace("/", ".") if slash >= 0 and (dot < 0 or slash < dot) else key
    first = dotted[: dotted.find(".")]
    if first == "net":
        return "network"
    if dotted in IPC_SYSCTLS or dotted[:10] == "fs.mqueue.":
        return "ipc"
    if dotted in ("kernel.domainname", "kernel.hostname"):
        return "uts"
    return "user" if first == "user" else ""


def warnings(document: Document) -> Iterator[str]:
    """What the specification advises against, or tells the runtime to warn of, a sentence each."""
    yield from version_warnings(document)
    process = document.get("process") or {}
    for kind, capabilities in process.get("capabilities", {}).items():
        if kind in names.CAPABILITY_SETS:
            for name in capabilities:
                if name not in names.CAPABILITIES:
                    yield f"process.capabilities.{kind}: unknown capability {show(name)} is ignored"
    for index, mount in enumerate(document.get("mounts", ())):
        if mount["destination"][0] != "/":
            yield f'mounts[{index}].destination: {show(mount["destination"])} is taken relative to "/"'
        options = mount.get("options", ())
        if mount.get("uidMappings") and "idmap" not in options and "ridmap" not in options:
            yield f"mounts[{index}]: ID mappings should come with the option idmap or ridmap"
    yield from linux_rules.warnings(document.get("linux") or {})
