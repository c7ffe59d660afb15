"""The wrong values that the suite tries are wrong by the tables and rules, and its right ones are right."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import cast

import pytest

from oci_conformance.core import bundle, host
from oci_conformance.profiles.spec import values as tests
from oci_conformance.run import requirements, values
from oci_conformance.run.case import Case
from oci_conformance.run.values import MISSING, Property
from oci_spec import config, fields, rules
from oci_spec.fields import ConfigError

PROPERTIES = {each.path: each for each in values.properties()}
# Samples that the rules can't allow: a key of a map needs another property, or the text says too little of it.
LOOSE = ("linux.netDevices",)


class Stand:
    """What the tests of values ask of a case, without a runtime."""

    host = host.look()
    program = Path("/probe")
    hook = Case.hook

    def base(self, id: str) -> object:
        return bundle.base("1.3.0", 0, 0, "/x")


def document(path: str) -> tuple[dict[str, object], tests.Place]:
    """The control's configuration, and where the property stands in it."""
    case = cast(Case, Stand())
    changes, place = tests.control(case, PROPERTIES[path])
    found = json.loads(json.dumps(bundle.base("1.3.0", 0, 0, "/x")))
    bundle.apply(found, changes)
    return found, place


@pytest.mark.parametrize("path", PROPERTIES)
def test_the_control_of_a_property_is_valid_and_has_it(path: str) -> None:
    found, place = document(path)
    node: object = found
    for key in place:
        node = node[key]  # type: ignore[index]
    config.parse(found)
    if not path.startswith(LOOSE):
        rules.check(found)


@pytest.mark.parametrize("path", PROPERTIES)
def test_each_wrong_value_of_a_property_is_refused_by_the_tables(path: str) -> None:
    found, place = document(path)
    assert values.wrong(PROPERTIES[path])
    for value in values.wrong(PROPERTIES[path]):
        wrong = copy.deepcopy(found)
        bundle.apply(wrong, {place: bundle.DELETE if value is MISSING else value})
        with pytest.raises(ConfigError) as error:
            config.parse(wrong)
        assert error.value.path.startswith(fields.join(place))


@pytest.mark.parametrize("prop", PROPERTIES.values(), ids=lambda prop: prop.path)
def test_each_property_has_a_requirement_in_the_versions_that_have_it(prop: Property) -> None:
    for version in ("1.0.0", "1.0.2", "1.1.0", "1.3.0"):
        assert (prop.id in requirements.at(version)) == (prop.since <= version)
    assert 10 < len(prop.requirement().text) < 160


@pytest.mark.parametrize(
    ("path", "since"),
    [
        ("process.user.uid", "1.0.0"),
        ("process.user.umask", "1.0.2"),
        ("process.scheduler.flags", "1.1.0"),
        ("linux.memoryPolicy.nodes", "1.3.0"),
        ("mounts[].uidMappings[].size", "1.1.0"),
    ],
    ids=["first", "patch", "below", "newest", "item"],
)
def test_a_property_is_as_old_as_what_it_is_in(path: str, since: str) -> None:
    assert PROPERTIES[path].since == since
