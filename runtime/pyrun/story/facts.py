"""Who asks for a step of a story: a property of config.json, an option, or one of the facts that have a name here.

Hot module. A property is named by its JSON path (without places in lists), an option by its dashes. All that one
container asks for is one set, by which the rows of the tables are chosen.
"""

from __future__ import annotations

from pyrun.features import crun_annotations
from pyrun.features.seccomp import notify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from oci_spec import types
    from pyrun.commandline.parse import Values
    from pyrun.story.plan import Plan

ALWAYS = "every container"
USER_NAMESPACE = "a user namespace, new or joined"
NEW_USER_NAMESPACE = "a user namespace of its own"
NEW_NETWORK_NAMESPACE = "a network namespace of its own"
MOUNT_NAMESPACE = "a mount namespace, new or joined"
NO_MOUNT_NAMESPACE = "no mount namespace"
JOINED_NAMESPACE = "a namespace that is joined"
DEVICES_FOR_USERS = "linux.devices with a user namespace"
HOOKS_BEFORE_START = "hooks that may ask for the state"
HOOKS_OF_THE_RUNTIME = "hooks in the runtime's namespaces"
IDMAPPED_MOUNTS = "mounts with mapped ids"
SESSION_KEYRING = "a session keyring of its own"
NOTIFY_SOCKET = "a caller with $NOTIFY_SOCKET"
NO_OOM_SCORE = "no process.oomScoreAdj"
SECCOMP_AGENT = "a seccomp agent"
HOOK_FILES = "annotations of files for hooks"
PIDFD_RECEIVER = "the annotation of a pidfd receiver"
# Those that become known to the child only, and are for stage 2.
LABELS = "labels of the program"
LATE_CWD = "a working directory that root may not enter"
UNBORN = "a process that is still to be born"
INTO_PID_NAMESPACE = "a PID namespace to be born in"
WAITING = "an init that waits for start"


def of(planned: Plan, options: Values) -> frozenset[str]:
    """All that a container asks for, or a process of exec."""
    asked = {ALWAYS}
    asked |= properties(planned.config)
    for name in options:
        asked.add(f"--{name}")
    kinds = planned.namespaces
    if "user" in kinds:
        asked.add(USER_NAMESPACE)
        if not kinds["user"]:
            asked.add(NEW_USER_NAMESPACE)
        if "linux.devices" in asked:
            asked.add(DEVICES_FOR_USERS)
    asked.add(MOUNT_NAMESPACE if "mount" in kinds else NO_MOUNT_NAMESPACE)
    if kinds.get("network") == "":
        asked.add(NEW_NETWORK_NAMESPACE)
    if any(kinds.values()):
        asked.add(JOINED_NAMESPACE)
    if "hooks" in asked:
        if "hooks.prestart" in asked or "hooks.createRuntime" in asked:
            asked.add(HOOKS_OF_THE_RUNTIME)
            asked.add(HOOKS_BEFORE_START)
        elif "hooks.createContainer" in asked:
            asked.add(HOOKS_BEFORE_START)
    if [mount for mount in planned.mounts if mount.is_idmapped]:
        asked.add(IDMAPPED_MOUNTS)
    if planned.new_keyring:
        asked.add(SESSION_KEYRING)
    if planned.notifies:
        asked.add(NOTIFY_SOCKET)
    if "linux.seccomp" in asked and "process" in asked and notify.used(planned.linux["seccomp"]):
        asked.add(SECCOMP_AGENT)
    if "annotations" in asked:
        annotated = planned.config["annotations"]
        if annotated.get(crun_annotations.HOOKS_STDOUT) or annotated.get(crun_annotations.HOOKS_STDERR):
            asked.add(HOOK_FILES)
        if annotated.get(crun_annotations.PIDFD_RECEIVER):
            asked.add(PIDFD_RECEIVER)
    if "process.oomScoreAdj" not in asked:
        asked.add(NO_OOM_SCORE)
    return frozenset(asked)


def properties(config: types.Config) -> set[str]:
    """The JSON paths of all that a configuration asks for."""
    found: set[str] = set()
    _add_properties(found, config, "")
    return found


def _add_properties(asked: set[str], values: Mapping[str, Any], prefix: str) -> None:
    """Add the properties that ask for something: null, false and what is empty do not, and 0 does. An empty intelRdt
    asks for resctrl by its mere presence (config-linux.md, IntelRdt)."""
    for name, value in values.items():
        if value or type(value) is int or (name == "intelRdt" and value is not None):
            path = f"{prefix}{name}"
            asked.add(path)
            if type(value) is dict and path in NESTED:
                _add_properties(asked, value, path + ".")


NESTED = ("process", "process.user", "linux", "linux.resources", "hooks", "root")
