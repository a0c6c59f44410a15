"""Where a stage's items run: ``run.runner`` of the settings. No result depends on it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, cast

from prefect import Flow
from prefect.context import FlowRunContext
from prefect.futures import PrefectFuture, PrefectWrappedFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from nand_core.errors import NandError
from nand_core.settings import RunSettings

Stage = Callable[..., None]


def task_runner(settings: RunSettings) -> TaskRunner[Any]:
    """Threads that share one loaded model, or ``workers`` processes of Dask or Ray with one each, on this machine.

    A flow inside another uses the cluster of that one: to start it takes seconds.

    Raises
    ------
    NandError
        When the runner's package is not installed.
    """
    if settings.runner == "threads":
        return ThreadPoolTaskRunner(max_workers=settings.workers)
    try:
        if settings.runner == "dask":
            from prefect_dask import DaskTaskRunner  # type: ignore[attr-defined]  # no __all__ there

            outer = FlowRunContext.get()
            if outer and isinstance(outer.task_runner, DaskTaskRunner):
                scheduler = outer.task_runner.client.scheduler
                if scheduler is not None:
                    return DaskTaskRunner(address=scheduler.address)
            cluster = {"n_workers": settings.workers, "threads_per_worker": 1}
            return DaskTaskRunner(cluster_kwargs={**cluster, "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"})
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        from prefect_ray import RayTaskRunner
    except ImportError as error:
        name = settings.runner
        raise NandError(f"run.runner: {name} is not installed ({error}); pip install 'nand[{name}]'") from error
    ray: TaskRunner[Any] = RayTaskRunner(init_kwargs={"num_cpus": settings.workers, "include_dashboard": False})
    return ray


def as_flow(stage: Stage, settings: RunSettings, *arguments: str) -> Stage:
    """A stage as a flow whose run is named after it and what it is called with; what is a flow already stays one."""
    made = stage if isinstance(stage, Flow) else Flow(stage, name=stage.__name__)
    called = " ".join([made.name, *arguments])
    return made.with_options(task_runner=task_runner(settings), flow_run_name=lambda: called)


def cancel(future: PrefectFuture[Any]) -> None:
    """Drop an item that has not begun yet."""
    # Every runner's futures are of this kind.
    waiting = cast(PrefectWrappedFuture[Any, Any], future).wrapped_future
    if hasattr(waiting, "cancel"):
        waiting.cancel()
    else:
        import ray

        ray.cancel(waiting)
