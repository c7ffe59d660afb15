"""Every fault of a config.json at once, in the words of the parser, which stops at the first one.

jsonschema finds the places at fault, by the schema that is made from the tables; the tables say what is wrong there.
Then come the rules, on what is left.
"""

from __future__ import annotations

import json
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any

from jsonschema import Draft4Validator  # type: ignore[import-untyped]

from oci_spec import config, fields, rules, schema
from oci_spec.fields import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oci_spec.fields import Kind, Part

JSON_SECTION = "glossary.md#json"
LONGEST_NUMBER = 1000  # characters of an integer; what a longer one does depends on Python's version
TOO_DEEP = ("nesting without end", "a document of reasonable depth", JSON_SECTION)
# For required properties at fault whose object the rules have much to say about.
STAND_INS: dict[tuple[Part, ...], object] = {("process", "args"): ["sh"], ("process", "cwd"): "/"}
OTHER_PLATFORMS = ("windows", "solaris", "vm", "zos", "freebsd")


def errors(source: bytes | dict[str, Any]) -> list[dict[str, str]]:
    """Every fault, as {"path", "found", "wanted", "section"}; an empty list for a valid configuration.

    `source` is the content of a config.json, or what it decodes to (which stays as it is). The path is empty
    for the document as a whole.
    """
    document: object = source
    try:
        if isinstance(source, bytes):
            document, faults = decode(source)
        else:
            faults = list(text_faults(source, (), {}))
        seen = {fault.parts for fault in faults}
        faults += [fault for fault in structural("config", document) if fault.parts not in seen]
        faults += rules.faults(prune(document, faults))
    except ConfigError as error:
        faults = [error]
    except RecursionError:  # of jsonschema, which writes values into its messages
        faults = [ConfigError(*TOO_DEEP)]
    return [record(fault) for fault in faults]


def warnings(document: dict[str, Any]) -> list[str]:
    """What is allowed and yet likely a mistake, a sentence each; unknown properties with the nearest name."""
    sound = prune(document, structural("config", document))
    return [*unknown(config.CONFIG, document, ()), *rules.warnings(sound)]


def record(fault: ConfigError) -> dict[str, str]:
    """A fault as a JSON object."""
    return {"path": fault.path, "found": fault.found, "wanted": fault.wanted, "section": fault.section}


def decode(content: bytes) -> tuple[object, list[ConfigError]]:
    """Decode JSON; the second result is what repeats names or isn't text. ConfigError: it isn't JSON at all.

    Refused like on the fast path: bytes that aren't UTF-8, NaN and Infinity, numbers of thousands of digits,
    and nesting beyond the interpreter's recursion limit.
    """
    repeated: dict[int, tuple[object, list[str]]] = {}

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        result = dict(items)
        if len(result) != len(items):
            names = [name for name, _ in items]
            repeated[id(result)] = (result, [name for name in result if names.count(name) > 1])
        return result

    def constant(name: str) -> object:
        raise ConfigError(name, "a number that JSON has", JSON_SECTION)

    def integer(text: str) -> int:
        if len(text) > LONGEST_NUMBER:
            found = f"a number of {len(text)} digits"
            raise ConfigError(found, f"{LONGEST_NUMBER} digits at most", JSON_SECTION)
        return int(text)

    try:
        document = json.loads(
            content.decode(), object_pairs_hook=pairs, parse_constant=constant, parse_int=integer
        )
        suspect = repeated or b"\\ud" in content.lower()
        return document, list(text_faults(document, (), repeated)) if suspect else []
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        found = f"byte 0x{content[error.start]:02x} in line {line}, column {column}"
        raise ConfigError(found, "UTF-8", JSON_SECTION) from None
    except json.JSONDecodeError as error:
        found = f"{error.msg[:1].lower()}{error.msg[1:]} in line {error.lineno}, column {error.colno}"
        raise ConfigError(found, "JSON", JSON_SECTION) from None
    except RecursionError:
        raise ConfigError(*TOO_DEEP) from None


def text_faults(
    value: object, parts: tuple[Part, ...], repeated: dict[int, tuple[object, list[str]]]
) -> Iterator[ConfigError]:
    """Where names are repeated, and where an escape makes half a surrogate pair; anywhere in a document."""
    if isinstance(value, str) and not fields.encodable(value):
        yield ConfigError(fields.show(value), "text that UTF-8 can hold", JSON_SECTION, parts)
    for name in repeated.get(id(value), (None, []))[1]:
        yield ConfigError("the name twice", "names that differ in an object", JSON_SECTION, (*parts, name))
    if isinstance(value, dict):
        for key, item in value.items():
            yield from text_faults(key, (*parts, key), repeated)
            yield from text_faults(item, (*parts, key), repeated)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from text_faults(item, (*parts, index), repeated)


def structural(name: str, document: object) -> list[ConfigError]:
    """What the schema of "config", "state" or "features" finds wrong, in the parser's words, each place once."""
    found: dict[tuple[Part, ...], ConfigError] = {}
    for error in validator(name).iter_errors(document):
        for fault in explain(schema.DOCUMENTS[name][0], tuple(error.absolute_path), error.instance):
            found.setdefault(fault.parts, fault)
    return list(found.values())


@cache
def validator(name: str) -> Any:
    """jsonschema's validator for a document."""
    return Draft4Validator(schema.schema(name))


def explain(kind: Kind, parts: tuple[Part, ...], value: object) -> Iterator[ConfigError]:
    """What is wrong with the value at a path itself, not with what is inside of it."""
    section, required = kind[3], False
    for part in parts:
        in_object = kind[0] is fields.check_object
        required = in_object and part in kind[2]
        section = fields.section_of(kind, str(part)) if in_object else section
        kind = kind[1][part] if in_object else kind[1]
    if kind[0] is fields.check_object and isinstance(value, dict):
        for key in kind[2]:
            if key not in value:
                yield missing("nothing", fields.section_of(kind, key), (*parts, key))
    elif kind[0] is fields.check_map and isinstance(value, dict):
        for key, item in value.items():
            yield from refusal(kind, {key: item}, parts, section)
    elif required and value is None:
        yield missing("null", section, parts)
    else:
        yield from refusal(kind, value, parts, section)


def missing(found: str, section: str, parts: tuple[Part, ...]) -> ConfigError:
    """The fault of a required property that isn't there."""
    return ConfigError(found, "a value: it is required", section, parts)


def refusal(kind: Kind, value: object, parts: tuple[Part, ...], section: str) -> Iterator[ConfigError]:
    """The parser's first fault of a value that should be of a kind."""
    try:
        kind[0](kind, value)
    except ConfigError as error:
        error.parts = (*parts, *error.parts)
        error.section = error.section or section
        yield error


def prune(document: object, faults: list[ConfigError]) -> dict[str, Any]:
    """A copy of what is known and not at fault, so that the rules can look at it.

    A fault inside an array takes the array's property with it (indexes in later faults stay true), a missing
    property its object (or a stand-in takes its place); then again, until the parser is content but for the
    top's own required properties.
    """
    sound: Any = known(config.CONFIG, document)
    if not isinstance(sound, dict):
        return {}
    for fault in faults:
        remove(sound, fault.parts)
    while True:
        try:
            config.parse(sound)
        except ConfigError as error:
            if error.parts[0] not in sound:
                return sound
            if error.parts in STAND_INS and error.parts[1] not in sound["process"]:
                sound["process"][error.parts[1]] = STAND_INS[error.parts]
                continue
            remove(sound, error.parts)
        else:
            return sound


def known(kind: Kind, value: object) -> object:
    """A copy of the known properties that aren't null."""
    if kind[0] is fields.check_object and isinstance(value, dict):
        there = {key: item for key, item in value.items() if key in kind[1] and item is not None}
        return {key: known(kind[1][key], item) for key, item in there.items()}
    if kind[0] is fields.check_list and isinstance(value, list):
        return [known(kind[1], item) for item in value]
    if kind[0] is fields.check_map and isinstance(value, dict):
        return {key: known(kind[1], item) for key, item in value.items()}
    return value


def remove(document: dict[str, Any], parts: tuple[Part, ...]) -> None:
    """Remove the property that a path leads to, or the nearest around it that is there and in no array."""
    holder: Any = document
    at: tuple[dict[str, Any], str] | None = None
    for part in parts:
        if not isinstance(holder, dict) or not isinstance(part, str) or part not in holder:
            break
        at = (holder, part)
        holder = holder[part]
    if at is not None:
        del at[0][at[1]]


def unknown(kind: Kind, value: object, parts: tuple[Part, ...]) -> Iterator[str]:
    """A sentence for each property that the tables don't have."""
    check = kind[0]
    if check is fields.check_object and isinstance(value, dict):
        for key, item in value.items():
            if key in kind[1]:
                yield from unknown(kind[1][key], item, (*parts, key))
            else:
                yield f"{fields.join((*parts, key))}: {guess(key, list(kind[1]), not parts)}"
    elif check is fields.check_list and isinstance(value, list):
        for index, item in enumerate(value):
            yield from unknown(kind[1], item, (*parts, index))
    elif check is fields.check_map and isinstance(value, dict):
        for key, item in value.items():
            yield from unknown(kind[1], item, (*parts, key))


def guess(key: str, known: list[str], top: bool) -> str:
    """What to say of an unknown property."""
    if top and key in OTHER_PLATFORMS:
        return "a section for another platform, ignored"
    near = get_close_matches(key, known, 1)
    return f"unknown property, ignored; did you mean {near[0]}?" if near else "unknown property, ignored"
