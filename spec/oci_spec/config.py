"""The configuration, config.json (config.md, config-linux.md): its top table and the parser.

Sections of other platforms (windows, solaris, vm, zos, freebsd) are unknown properties here.
"""

from __future__ import annotations

from oci_spec.fields import STRING, TEXT, check_object, list_of, map_of, table
from oci_spec.linux import LINUX
from oci_spec.process import HOOKS, MOUNT, PROCESS, ROOT
from oci_spec.resources import RESOURCES

CONFIG = table(
    {
        "ociVersion": STRING,
        "process": PROCESS,
        "root": ROOT,
        "hostname": STRING,
        "domainname": STRING,
        "mounts": list_of(MOUNT),
        "hooks": HOOKS,
        "annotations": map_of(TEXT, TEXT),
        "linux": LINUX,
    },
    ("ociVersion", "root"),
    "config.md",
    {
        "ociVersion": "config.md#specification-version",
        "root": "config.md#root",
        "hostname": "config.md#hostname",
        "domainname": "config.md#domainname",
        "mounts": "config.md#mounts",
        "annotations": "config.md#annotations",
    },
)


def parse(document: object) -> None:
    """Check a decoded config.json against the tables, in place, and remove the properties that are null.

    Afterwards each known property that is there has the kind of its table. Raises ConfigError at the first
    fault. What concerns more than one property is in rules.check.
    """
    check_object(CONFIG, document)


def parse_process(document: object) -> None:
    """Check a decoded process file (`exec --process`) as parse does the property `process`."""
    check_object(PROCESS, document)


def parse_resources(document: object) -> None:
    """Check a decoded resources file (`update --resources`) as parse does `linux.resources`."""
    check_object(RESOURCES, document)
