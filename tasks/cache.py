"""The task cache: what is an item, what is its key, and when a hit is a hit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, cast

from prefect import Task, task
from prefect.cache_policies import CachePolicy
from prefect.transactions import IsolationLevel
from pydantic import Field

from nand_core.artifacts.store import Record, Store, digest
from nand_core.settings import Settings
from tasks.code import code_digest
from tasks.locks import FlockManager
from tasks.records import StoreRecords

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


@dataclass
class ContentKey(CachePolicy):
    """Key = the task, its code, its spec. A record whose object is gone or damaged is dropped here."""

    module: str = ""
    name: str = ""

    def compute_key(self, task_ctx: Any, inputs: dict[str, Any], flow_parameters: Any, **kwargs: Any) -> str:
        """The item's key."""
        key = item_key(self.module, self.name, inputs["spec"])
        inputs["work"].store.lookup(key)
        return key


def item_key(module: str, name: str, spec: Spec) -> str:
    """The task's name, then the sha256 of what determines the item."""
    return f"{name}-{digest({'task': name, 'code': code_digest(module), 'spec': spec.key()})}"


Item = Task[[Spec, Any], dict[str, Any]]
"""A task that :func:`item` made."""


def key_of(made: Item, spec: Spec) -> str:
    """The key of a task's item."""
    policy = cast(ContentKey, made.cache_policy)  # item() gives every task one
    return item_key(policy.module, policy.name, spec)


def item(function: Callable[[Any, Any], Record]) -> Item:
    """A cached Prefect task of ``function(spec, work) -> Record``."""
    module, name = function.__module__, function.__name__

    def run(spec: Spec, work: Any) -> dict[str, Any]:
        record = function(spec, work)
        # Here and not when Prefect commits: what goes wrong there is only logged.
        work.store.note(item_key(module, name, spec), record)
        return record.model_dump()

    run.__doc__ = function.__doc__
    return task(
        name=name,
        persist_result=True,
        result_serializer="json",
        cache_result_in_memory=False,
        cache_policy=ContentKey(module=module, name=name),
    )(run)


def record_of(made: Item, spec: Spec, work: Any) -> Record:
    """What the item of ``spec`` gives: out of the cache, else computed here and now and put there; without Prefect."""
    if found := work.store.lookup(key_of(made, spec)):
        return cast(Record, found)
    return Record.model_validate(made.fn(spec, work))


def stored_in(made: Item, store: Store) -> Item:
    """The task with its records and locks in ``store``."""
    policy = made.cache_policy.configure(
        lock_manager=FlockManager(store.locks), isolation_level=IsolationLevel.SERIALIZABLE
    )
    stored = made.with_options(cache_policy=policy)
    stored.result_storage = StoreRecords(store=store)  # with_options takes blocks that the server knows only
    return stored
