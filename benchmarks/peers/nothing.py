"""``python -m benchmarks.peers.nothing ours|prefect COUNT``: items that compute nothing, executed and then cached.

Prints, in a flow of a process of its own in an empty folder, with one local server: milliseconds an item, executed and
from the cache, from the first that is submitted to the last that is done. What a flow waits for before and after that,
Prefect's events among it, took between one second and 16 for the same items. An item is a task of the pipeline, or a
bare task of Prefect's with its own cache on the same inputs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import INPUTS
from prefect.futures import wait
from prefect.task_runners import ThreadPoolTaskRunner

from benchmarks.scratch import PARAMS
from flows.run import STATE, Run
from flows.server import wait_for_server
from nand_core.artifacts.remote import open_store
from nand_core.artifacts.store import Record
from nand_core.config import Params
from tasks.cache import Spec, item
from tasks.work import Work


class Number(Spec):
    """What an item is about."""

    number: int


@item
def stored(spec: Number, work: Work) -> Record:
    """A few bytes."""
    return work.store.put(f"{spec.number}".encode(), "txt")


@task(cache_policy=INPUTS, persist_result=True, cache_result_in_memory=False, result_serializer="json")
def bare(number: int) -> dict[str, Any]:
    """The same of Prefect's."""
    return {"text": f"{number}"}


@flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
def ours(count: int) -> float:
    """By the pipeline's own machinery; seconds."""
    params, store = Params.model_validate(PARAMS), open_store(STATE)
    run = Run("nothing", params, Work(params, Path(), store), store.hold())
    begun = time.perf_counter()
    found = run.items(stored, {number: Number(number=number) for number in range(count)})
    passed = time.perf_counter() - begun
    assert len(found) == count
    run.hold.close()
    return passed


@flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
def prefect(count: int) -> float:
    """By Prefect alone; seconds."""
    begun = time.perf_counter()
    futures = [bare.submit(number) for number in range(count)]
    wait(futures)
    found = [future.result()["text"] for future in futures]
    passed = time.perf_counter() - begun
    assert found == [str(number) for number in range(count)]
    return passed


def main() -> None:
    kinds: dict[str, Callable[[int], Any]] = {"ours": ours, "prefect": prefect}
    kind, count, url = kinds[sys.argv[1]], int(sys.argv[2]), sys.argv[3]
    wait_for_server(url)
    kind(1)  # what is made once
    print(*(1000 * kind(count) / count for _ in range(2)))


if __name__ == "__main__":
    main()
