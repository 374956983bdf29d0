"""Types of answers, made from the records that the answers show."""

from __future__ import annotations

import typing
from typing import Any

import msgspec

from pipeline.record import Record


def struct_of(title: str, /, **fields: Any) -> type[msgspec.Struct]:
    """A type all of whose fields are always there."""
    return msgspec.defstruct(title, list(fields.items()), kw_only=True)


def with_every_field(
    record: type[Record] | type[msgspec.Struct], title: str = "", /, **more: Any
) -> type[msgspec.Struct]:
    """The type of a record that is shown with every field, defaults too, and with ``more`` beside them."""
    hints = typing.get_type_hints(record, include_extras=True)
    shown = {field: _shown(hints[field]) for field in record.__struct_fields__}
    return struct_of(title or record.__name__, **(shown | more))


def _shown(kind: Any) -> Any:
    """Within an answer nested records are shown whole too; what a release was configured with is any JSON."""
    if kind is msgspec.Raw:
        return Any
    return kind


def listed(name: str, kind: type[msgspec.Struct], field: str, **more: Any) -> type[msgspec.Struct]:
    """A page of a list: the entries, and ``next``, the cursor of the following page or nothing."""
    return struct_of(name, **{field: list[kind], "next": str, **more})  # type: ignore[valid-type]


def many(name: str, kind: type[msgspec.Struct], field: str) -> type[msgspec.Struct]:
    """A list that comes whole."""
    return struct_of(name, **{field: list[kind]})  # type: ignore[valid-type]
