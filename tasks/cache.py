"""The task cache: what is an item, and what is its key."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, cast

from pydantic import Field

from nand_core.artifacts.store import Record, digest
from nand_core.settings import Settings
from tasks.code import code_digest

Bits = Annotated[int | None, Field(exclude_if=lambda bits: bits is None)]
"""How many count in the 16-bit images of a spec; None without any, and no part of its key then."""


class Spec(Settings):
    """Everything that determines an item's result, as plain JSON.

    ``unkeyed`` names fields that only say where to find what another field gives the digest of.
    """

    unkeyed: ClassVar[frozenset[str]] = frozenset()

    def key(self) -> dict[str, Any]:
        """What enters the cache key."""
        return self.model_dump(mode="json", exclude=set(self.unkeyed))


def item_key(module: str, name: str, spec: Spec) -> str:
    """The task's name, then the sha256 of what determines the item."""
    return f"{name}-{digest({'task': name, 'code': code_digest(module), 'spec': spec.key()})}"


@dataclass(frozen=True)
class Item:
    """A cached function ``(spec, work) -> Record``: called it computes, and puts what it gives into the store.

    It knows nothing of Prefect, whose tasks are made of it where a flow runs (``tasks.prefect_tasks``).
    """

    function: Callable[[Any, Any], Record]

    @property
    def name(self) -> str:
        """That of the function."""
        return self.function.__name__

    def __call__(self, spec: Spec, work: Any) -> Record:
        """Compute the item, whatever the cache has."""
        record = self.function(spec, work)
        work.store.note(self.key(spec), record)
        return record

    def __reduce__(self) -> tuple[Callable[[str, str], Item], tuple[str, str]]:
        """By its name: the function is not found under its own."""
        return _named, (self.function.__module__, self.name)

    def key(self, spec: Spec) -> str:
        """Of the item that ``spec`` determines."""
        return item_key(self.function.__module__, self.name, spec)

    def record(self, spec: Spec, work: Any) -> tuple[Record, bool]:
        """What the item gives, and whether the cache had it; else it is computed here and now."""
        key = self.key(spec)
        if found := work.store.lookup(key):
            return cast(Record, found), True
        with work.store.locked(key):  # which Prefect's tasks of other processes take as well (tasks.locks)
            if found := work.store.lookup(key):
                return cast(Record, found), True
            return self(spec, work), False


def _named(module: str, name: str) -> Item:
    return cast(Item, getattr(importlib.import_module(module), name))


def item(function: Callable[[Any, Any], Record]) -> Item:
    """The cached item of a function of a module."""
    return Item(function)
