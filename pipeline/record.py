"""What every record is: frozen, of a kind, under one subject made of its key."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pipeline.names import token


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all records; a subclass names its ``kind`` and says what makes its ``key``."""

    kind: ClassVar[str] = ""

    @property
    def key(self) -> tuple[str, ...]:
        # Not abc.abstractmethod: the metaclass of structs and that of abc exclude each other.
        raise NotImplementedError(type(self).__name__)

    @classmethod
    def subject_of(cls, *key: str) -> str:
        return f"st.{cls.kind}.{token(*key)}"

    @property
    def subject(self) -> str:
        return self.subject_of(*self.key)

    def encode(self) -> bytes:
        return msgspec.json.encode(self)
