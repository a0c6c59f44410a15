"""``python -m benchmarks.peers.nothing ours|prefect COUNT``: items that compute nothing, executed and then cached.

Prints, in a flow of a process of its own in an empty folder, with one local server: milliseconds an item, executed and
from the cache. An item is a task of the pipeline, or a bare task of Prefect's with its own cache on the same inputs.
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
def ours(count: int) -> None:
    """By the pipeline's own machinery."""
    params, store = Params.model_validate(PARAMS), open_store(STATE)
    run = Run("nothing", params, Work(params, Path(), store), store.hold())
    found = run.items(stored, {number: Number(number=number) for number in range(count)})
    assert len(found) == count
    run.hold.close()


@flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
def prefect(count: int) -> None:
    """By Prefect alone."""
    futures = [bare.submit(number) for number in range(count)]
    wait(futures)
    assert [future.result()["text"] for future in futures] == [str(number) for number in range(count)]


def main() -> None:
    kinds: dict[str, Callable[[int], Any]] = {"ours": ours, "prefect": prefect}
    kind, count, url = kinds[sys.argv[1]], int(sys.argv[2]), sys.argv[3]
    wait_for_server(url)
    kind(1)  # what is made once
    figures = []
    for _ in range(2):
        begun = time.perf_counter()
        kind(count)
        figures.append(1000 * (time.perf_counter() - begun) / count)
    print(*figures)


if __name__ == "__main__":
    main()
