"""Items as tasks of the flow that runs, and how far they are."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Mapping
from typing import cast
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.futures import as_completed

from flows.progress import OFTEN, SOON, bar
from flows.runners import cancel
from nand_core.artifacts.store import Record
from tasks.cache import Item, Spec
from tasks.prefect_tasks import as_task
from tasks.work import Work


def submitted(
    made: Item, specs: Mapping[str, Spec], names: Mapping[str, str], work: Work, stage: str
) -> Iterator[tuple[str, Record, bool]]:
    """Every item's key and record, and whether the cache had it, as they are done.

    Args:
        made: what they are items of.
        specs: theirs, by key.
        names: for whoever reads the log, by key.
        work: what they share.
        stage: that asks for them.
    """
    cached_task = as_task(made, work.store)
    futures = {cached_task.submit(spec, work): item for item, spec in specs.items()}
    progress = Progress(stage, len(futures))
    try:
        for future in as_completed(list(futures)):
            future.wait()  # brings the final state over; asked before that, the server may lag behind
            item = futures[future]
            if not future.state.is_completed():
                for other in futures:
                    cancel(other)
                get_run_logger().error("%s: item %s failed", stage, names[item])
            record = Record.model_validate(future.result())
            cached = future.state.name == "Cached"
            progress.step(cached)
            yield item, record, cached
    finally:
        progress.close()


class Progress:
    """A bar in a terminal; elsewhere a line now and then, and a progress artifact for Prefect's page."""

    def __init__(self, stage: str, total: int) -> None:
        self._stage, self._total, self._done, self._cached = stage, total, 0, 0
        self._bar = bar(stage, total)
        self._logger = get_run_logger()
        self._started = self._last = time.monotonic()
        self._artifact: UUID | None = None
        self._ended = threading.Event()
        if self._bar.disable:
            threading.Thread(target=self._tell, daemon=True).start()

    def step(self, cached: bool) -> None:
        self._done += 1
        self._cached += cached
        self._bar.update()
        if self._bar.disable and self._done < self._total and time.monotonic() - self._last > OFTEN:
            self._last = time.monotonic()
            self._show()

    def _tell(self) -> None:
        """Say how far it is, however long a single item takes."""
        wait = SOON
        while not self._ended.wait(wait):
            wait, passed = OFTEN, time.monotonic() - self._started
            left = f", about {passed / self._done * (self._total - self._done):.0f} s left" if self._done else ""
            self._logger.info("%s: %d of %d items%s", self._stage, self._done, self._total, left)

    def _show(self) -> None:
        """Stages that end within seconds show nothing."""
        percent = 100 * self._done / self._total
        if self._artifact is None:
            key = f"progress-{re.sub('[^a-z0-9]+', '-', self._stage)}"
            made = create_progress_artifact(percent, key=key, description=f"{self._stage}: items done")
            self._artifact = cast(UUID, made)  # a coroutine in an event loop alone
        else:
            update_progress_artifact(self._artifact, percent)

    def close(self) -> None:
        self._ended.set()
        self._bar.close()
        if self._artifact is not None:
            self._show()
        self._logger.info("%s: %d of %d items (%d from the cache)", self._stage, self._done, self._total, self._cached)
