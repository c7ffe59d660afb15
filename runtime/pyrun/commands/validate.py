"""pyrun validate: everything that is wrong with a configuration, at once. Cold module.

Three sources: the specification (oci_spec.validate), this runtime (what create refuses by name), and this host (paths
that aren't there). Nothing is created or changed.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import click

from oci_spec import config as oci_config
from oci_spec import fields, validate
from pyrun.base import jsontext
from pyrun.base.errors import PyrunError, printable, words
from pyrun.base.output import put
from pyrun.cgroups import cgroupfs
from pyrun.features import intel_rdt, labels, namespaces, net_devices
from pyrun.features.mounts import mount
from pyrun.features.seccomp import notify
from pyrun.story import create, handles, plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyrun.commandline.parse import Values

    Finding = dict[str, str]
    Config = Any  # as it was decoded: its shape is what is examined

SPECIFICATION, RUNTIME, HOST = "specification", "pyrun", "host"
# Hooks that run in the runtime's own namespaces, so that their path can be looked for.
HOST_HOOKS = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")


def run(root: str, values: Values, arguments: list[str]) -> int:
    """Examine a bundle and print what was found; 1 if there are errors."""
    layout = values.get("format", "text")
    if layout not in ("text", "json"):
        raise PyrunError(f'--format: "{layout}" is neither text nor json')
    bundle, path = _place(arguments[0] if arguments else "", str(values.get("config", "")))
    findings = examine(plan.read(bundle, path), bundle)
    if layout == "json":
        put(json.dumps(findings, indent=2, ensure_ascii=False) + "\n")
    else:
        _show(path, findings)
    return 1 if any(one["severity"] == "error" for one in findings) else 0


def _place(argument: str, config: str) -> tuple[str, str]:
    """Return the bundle and the configuration file's path; the argument may be either."""
    if argument and not config and os.path.isfile(argument):
        argument, config = os.path.dirname(argument), argument
    bundle = handles.absolute(argument)
    return bundle, config or f"{bundle}/config.json"


def examine(content: bytes, bundle: str) -> list[Finding]:
    """Return all findings about the content of a config.json, errors first."""
    if jsontext.is_deep(content):  # the decoder's stack must hold it
        return [_of_fault(validate.record(fields.ConfigError(*validate.TOO_DEEP)))]
    findings = [_of_fault(fault) for fault in validate.errors(content)]
    try:
        document, _ = validate.decode(content)
    except fields.ConfigError:
        return findings
    if not isinstance(document, dict):
        return findings
    sound = validate.prune(document, validate.structural("config", document))
    known = {one["path"] for one in findings}
    for source, error in [*_refused(sound, bundle), *_missing(sound, bundle)]:
        if error.json_path not in known:
            findings.append(_of_error(source, error, document))
    findings += [_of_warning(text) for text in validate.warnings(document)]
    return findings


def _of_fault(fault: Finding) -> Finding:
    """Return a fault by the specification as a finding."""
    return {"severity": "error", "source": SPECIFICATION, **fault}


def _of_error(source: str, error: PyrunError, document: Config) -> Finding:
    """Return a refusal of ours in the shape of the specification's."""
    found, section = _look_up(error.json_path, document)
    wanted = f"{error.sentence} ({error.hint})" if error.hint else error.sentence
    return {
        "severity": "error",
        "source": source,
        "path": error.json_path,
        "found": found,
        "wanted": printable(wanted),
        "section": section,
    }


def _of_warning(text: str) -> Finding:
    path, _, sentence = text.partition(": ")
    found = {
        "severity": "warning",
        "source": SPECIFICATION,
        "path": path,
        "found": "",
        "wanted": printable(sentence),
    }
    return {**found, "section": ""}


def _look_up(path: str, document: Config) -> tuple[str, str]:
    """Return what stands at a JSON path, in a few words, and the section of the specification about it."""
    value: Any = document
    kind: Any = oci_config.CONFIG
    section = "config.md"
    for name, quoted, index in re.findall(r'([A-Za-z]\w*)|\["(.*?)"\]|\[(\d+)\]', path):
        key: str | int = int(index) if index else name or quoted
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            value = None
        if kind[0] is fields.check_object and key in kind[1]:
            section, kind = fields.section_of(kind, str(key)), kind[1][key]
            section = kind[3] if kind[0] is fields.check_object else section
        elif kind[0] in (fields.check_list, fields.check_map):
            kind = kind[1]
    return "nothing" if value is None else fields.show(value), section


def _refused(config: Config, bundle: str) -> Iterator[tuple[str, PyrunError]]:
    """Yield what create refuses by name, on every host."""
    linux: Config = config.get("linux") or {}
    for refusal in plan.refusals(config, create.NOT_YET):
        yield RUNTIME, refusal
    for index, entry in enumerate(config.get("mounts") or ()):
        try:
            mount.understand(index, entry, bundle, linux)
        except PyrunError as error:
            yield RUNTIME, error
    profile = linux.get("seccomp")
    if profile:
        try:
            from pyrun.features.seccomp import profile as seccomp

            seccomp.flags(profile)
            if notify.used(profile):
                notify.path_of(profile, bundle)
            seccomp.check_execve(profile)
            from pyrun.features.seccomp import compiler

            compiler.compile_profile(profile)
        except PyrunError as error:
            yield RUNTIME, error


def _missing(config: Config, bundle: str) -> Iterator[tuple[str, PyrunError]]:
    """Yield what this host doesn't have, or not free."""
    root = (config.get("root") or {}).get("path")
    roots = []  # what lies in there may be made by an earlier mount
    if root:
        path = os.path.join(bundle, root)
        roots = [mount.plain_folder(path), mount.plain_folder(os.path.realpath(path))]
        if not os.path.isdir(path):
            there = os.path.lexists(path)
            yield HOST, PyrunError(f"{path} {'is not a folder' if there else 'does not exist'}", "root.path")
    linux = config.get("linux") or {}
    process: Config = config.get("process") or {}
    for refusal in labels.refusals(process):
        yield HOST, refusal
    if linux.get("mountLabel"):
        for refusal in labels.selinux_refusals(labels.MOUNTS):
            yield HOST, refusal
    profile: Config = linux.get("seccomp") or {}
    if profile.get("listenerPath") and notify.used(profile):
        try:
            notify.Agent(notify.path_of(profile, bundle), "").check()
        except PyrunError as error:
            yield HOST, error
    for refusal in net_devices.refusals(linux.get("netDevices") or {}):
        yield HOST, refusal
    if linux.get("intelRdt") is not None and not intel_rdt.mounted():
        yield HOST, intel_rdt.not_mounted()
    for index, entry in enumerate(linux.get("namespaces") or ()):
        if entry.get("path"):
            yield from _check_join(config, entry, f"linux.namespaces[{index}].path")
    for index, entry in enumerate(config.get("mounts") or ()):
        options = entry.get("options") or ()
        source = entry.get("source")
        if source and ("bind" in options or "rbind" in options) and "remount" not in options:
            path = os.path.join(bundle, source)
            if not mount.below(path, roots):
                yield from _check_there(path, f"mounts[{index}].source")
    for kind in HOST_HOOKS:
        for index, hook in enumerate((config.get("hooks") or {}).get(kind) or ()):
            yield from _check_there(hook["path"], f"hooks.{kind}[{index}].path")
    try:
        cgroupfs.plan(linux.get("cgroupsPath"), "pyrun-validate")
    except PyrunError as error:
        yield HOST, error


def _check_join(config: Config, entry: Config, json_path: str) -> Iterator[tuple[str, PyrunError]]:
    try:
        join = namespaces.Join(entry["type"], entry["path"], json_path)
    except PyrunError as error:
        yield HOST, error
        return
    for refusal in namespaces.refusals(config, join):
        yield HOST, refusal
    join.close()


def _check_there(path: str, json_path: str) -> Iterator[tuple[str, PyrunError]]:
    try:
        os.stat(path)
    except OSError as error:
        yield HOST, PyrunError(f"{path}: {words(OSError(error.errno, ''))}", json_path)


def _show(path: str, findings: list[Finding]) -> None:
    """Print the findings for people, with colours where standard output is a terminal."""
    coloured = os.isatty(1) and not os.environ.get("NO_COLOR")
    errors = [one for one in findings if one["severity"] == "error"]
    warnings = [one for one in findings if one["severity"] == "warning"]
    counts = ", ".join(
        [_count(errors, "error")] * bool(errors) + [_count(warnings, "warning")] * bool(warnings)
    )
    if errors:
        lines = [f"{printable(path)}: {click.style(counts, fg='red', bold=True)}"]
    else:
        verdict = click.style("valid", fg="green", bold=True)
        lines = [f"{printable(path)} is {verdict}{', ' * bool(warnings)}{counts}"]
    for one in errors:
        lines += ["", click.style(one["path"] or "the whole file", bold=True), *_details(one)]
    lines += [""] * bool(warnings)
    for one in warnings:
        lines.append(
            f"{click.style('warning', fg='yellow')} {click.style(one['path'], bold=True)}: {one['wanted']}"
        )
    text = "\n".join(lines) + "\n"
    put(text if coloured else click.unstyle(text))


def _count(some: list[Finding], word: str) -> str:
    return f"{len(some)} {word}{'s' * (len(some) != 1)}"


def _details(one: Finding) -> list[str]:
    rows = [("found", one["found"])]
    rows.append(("wanted" if one["source"] == SPECIFICATION else one["source"], one["wanted"]))
    rows.append(("see", one["section"]))
    return [f"  {click.style(name.ljust(6), dim=True)}  {text}" for name, text in rows if text]
