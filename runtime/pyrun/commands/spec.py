"""pyrun spec: the default configuration. Cold module."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from oci_spec import defaults
from pyrun.base.errors import PyrunError, failed
from pyrun.base.output import put

if TYPE_CHECKING:
    from pyrun.commandline.parse import Values


def run(root: str, values: Values, arguments: list[str]) -> int:
    """Write config.json into the bundle. An existing file stays as it is."""
    ids = (os.geteuid(), os.getegid()) if values.get("rootless") else None
    text = json.dumps(defaults.document(ids), indent=2) + "\n"
    file = str(values.get("file", "config.json"))
    if file == "-":
        put(text)
        return 0
    path = os.path.join(str(values.get("bundle", "")), file)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOCTTY, 0o644)
        with open(fd, "w", encoding="utf-8") as new:
            new.write(text)
    except FileExistsError:
        raise PyrunError(f"{path} exists already and stays as it is", hint="remove it first") from None
    except OSError as error:
        raise failed("writing the configuration", error, path=path) from None
    return 0
