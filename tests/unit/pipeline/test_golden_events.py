"""Recorded events: whatever a release wrote into the event store, this code reads as it was meant.

A test that fails here says that a field was removed, renamed, became another type, became required, or got another
default. Give it another name and keep the old one, or let ``version`` grow and go on reading what is recorded.
"""

from __future__ import annotations

import json
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import pytest
from msgspec.structs import fields

from pipeline.events import TYPES, Event, decode
from pipeline.servicefile import ServiceSpec
from tests.support.golden_events import RECORDED, Written, added, written

DEFAULTS: dict[str, dict[str, Any]] = json.loads((RECORDED / "defaults.json").read_text())


@pytest.mark.parametrize("one", written(), ids=lambda one: str(json.loads(one.body)["id"]))
def test_what_a_release_wrote_is_read_whole(one: Written) -> None:
    event = decode(one.type, one.body)

    assert json.loads(event.encode()) == json.loads(one.body)
    assert event.subject == one.subject


@pytest.mark.parametrize("one", written(), ids=lambda one: str(json.loads(one.body)["id"]))
def test_what_a_later_release_adds_is_passed_over(one: Written) -> None:
    event = decode(one.type, added(one.body))

    assert event.subject == one.subject
    assert not hasattr(event, "invented")


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_what_a_release_left_out_still_means_the_same(name: str) -> None:
    required = decode(written(name)[1].type, written(name)[1].body)

    meant = {field: getattr(required, field, "no such field") for field in DEFAULTS[name]}
    assert json.loads(msgspec.json.encode(meant)) == DEFAULTS[name]


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_every_field_of_every_event_is_recorded_with_each_of_its_values(kind: str) -> None:
    name = f"{kind}.v{TYPES[kind].version}"
    bodies = [json.loads(one.body) for one in written(name)]

    assert bodies, f"{name}: record an event with every field, and one with those that are required"
    assert _unrecorded(TYPES[kind], bodies) == []
    assert DEFAULTS[name].keys() == {one.name for one in fields(TYPES[kind]) if not one.required}


def test_a_recorded_service_is_read_whole() -> None:
    spec = json.loads(written("build.requested.v1")[0].body)["spec"]

    assert msgspec.to_builtins(msgspec.convert(spec, ServiceSpec)) == spec


@pytest.mark.parametrize(
    "changed",
    [
        msgspec.defstruct("Renamed", [("id", str), ("verdict", str), ("promo", str, "")]),
        msgspec.defstruct("Retyped", [("id", str), ("promotion", int), ("verdict", str)]),
        msgspec.defstruct("Narrowed", [("id", str), ("promotion", str), ("verdict", Literal["approved"])]),
        msgspec.defstruct("Demanding", [("id", str), ("promotion", str), ("verdict", str), ("reviewer", str)]),
    ],
    ids=lambda changed: changed.__name__,
)
def test_a_change_that_breaks_is_seen(changed: type[msgspec.Struct]) -> None:
    def read(body: bytes) -> Any:
        try:
            return msgspec.to_builtins(msgspec.json.decode(body, type=changed))
        except msgspec.ValidationError:
            return {}

    bodies = [one.body for one in written("promotion.reviewed.v1")]
    assert any(not json.loads(body).items() <= read(body).items() for body in bodies[1:])


def _unrecorded(kind: type[msgspec.Struct], bodies: list[dict[str, Any]]) -> list[str]:
    """The fields, and the values of such as have only some, that no body has; those of structs within, too."""
    hints, missing = get_type_hints(kind), []
    for one in fields(kind):
        seen = [body[one.name] for body in bodies if one.name in body]
        hint = hints[one.name]
        inner = [
            part for part in (hint, *get_args(hint)) if isinstance(part, type) and issubclass(part, msgspec.Struct)
        ]
        values = set(get_args(hint)) - {one.default} - set(seen) if get_origin(hint) is Literal else set()
        missing += [one.name] * (not seen) + [f"{one.name}: {value}" for value in sorted(values)]
        missing += [f"{one.name}.{field}" for part in inner for field in _unrecorded(part, seen)]
    return missing


def test_no_event_is_without_a_type() -> None:
    assert {one.type for one in written()} == set(TYPES)
    assert all(issubclass(kind, Event) for kind in TYPES.values())
