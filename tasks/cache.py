"""The task cache: what is an item, what is its key, and when a hit is a hit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson
from prefect import Task, task
from prefect.cache_policies import CachePolicy
from prefect.transactions import IsolationLevel

from nand_core.artifacts.store import Record, Store, digest
from nand_core.settings import Settings
from tasks.code import code_digest
from tasks.locks import FlockManager


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
        """The item's key, 64 hexadecimal digits."""
        key = item_key(self.module, self.name, inputs["spec"])
        forget_if_broken(inputs["work"].store, key)
        return key


def item_key(module: str, name: str, spec: Spec) -> str:
    """sha256 of what determines the item."""
    return digest({"task": name, "code": code_digest(module), "spec": spec.key()})


def forget_if_broken(store: Store, key: str) -> None:
    """Remove the record of ``key`` unless it is readable and its object is intact."""
    path = store.records / key
    try:
        record = orjson.loads(path.read_bytes())
        if store.holds(Record.model_validate(orjson.loads(record["result"]))):
            return
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError):
        pass
    path.unlink(missing_ok=True)


def item(function: Callable[[Any, Any], Record]) -> Task:
    """A cached Prefect task of ``function(spec, work) -> Record``."""
    module, name = function.__module__, function.__name__

    def run(spec: Spec, work: Any) -> dict[str, Any]:
        return function(spec, work).model_dump()

    run.__doc__ = function.__doc__
    made = task(
        run,
        name=name,
        persist_result=True,
        result_serializer="json",
        cache_result_in_memory=False,
        cache_policy=ContentKey(module=module, name=name),
    )
    return made


def stored_in(made: Task, store: Store) -> Task:
    """The task with its records and locks in ``store``."""
    policy = made.cache_policy.configure(
        lock_manager=FlockManager(store.locks), isolation_level=IsolationLevel.SERIALIZABLE
    )
    return made.with_options(result_storage=store.records, cache_policy=policy)
