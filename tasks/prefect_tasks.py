"""Items as Prefect runs them: a task, its cache and its lock over the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from prefect import Task, task
from prefect.cache_policies import CachePolicy
from prefect.transactions import IsolationLevel

from nand_core.artifacts.store import Store
from tasks.cache import Item, Spec
from tasks.locks import FlockManager
from tasks.records import StoreRecords


@dataclass
class ContentKey(CachePolicy):
    """The item's key. A record whose object is gone or damaged is dropped here, so that a hit is a hit."""

    made: Item | None = None

    def compute_key(self, task_ctx: Any, inputs: dict[str, Any], flow_parameters: Any, **kwargs: Any) -> str:
        """The item's key."""
        key = cast(Item, self.made).key(inputs["spec"])
        inputs["work"].store.lookup(key)
        return key


def as_task(made: Item, store: Store) -> Task[[Spec, Any], dict[str, Any]]:
    """A cached task of an item, with its records and locks in ``store``."""

    def run(spec: Spec, work: Any) -> dict[str, Any]:
        # Noted in the store here and not when Prefect commits: what goes wrong there is only logged.
        return made(spec, work).model_dump()

    run.__doc__ = made.function.__doc__
    policy = ContentKey(made=made).configure(
        lock_manager=FlockManager(store.locks), isolation_level=IsolationLevel.SERIALIZABLE
    )
    stored = task(
        name=made.name,
        persist_result=True,
        result_serializer="json",
        cache_result_in_memory=False,
        cache_policy=policy,
    )(run)
    stored.result_storage = StoreRecords(store=store)  # the decorator takes blocks that the server knows only
    return stored
