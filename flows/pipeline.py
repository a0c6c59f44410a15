"""The whole pipeline as one flow, for runs that DVC does not start."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from flows.adaptation import adaptation
from flows.base_maps import base_maps
from flows.dataset import dataset
from flows.demo_data import demo_data
from flows.evaluate import evaluate
from flows.examples import examples
from flows.inputs import inputs
from flows.prompts import prompts
from flows.report import report
from flows.runners import Stage, as_flow
from flows.suppression import suppression
from flows.text_features import text_features
from nand_core.config import load_params


@flow(name="pipeline")
def pipeline(params: str = "params.yaml") -> None:
    """Every stage in order; items that nothing touched come from the cache."""
    settings = load_params(Path(params))
    inputs(Path(params))

    def run(stage: Stage, *arguments: str) -> None:
        as_flow(stage, settings.run, *arguments)(*arguments, params)

    for stage in (demo_data, dataset, adaptation, examples, prompts, text_features):
        run(stage)
    for detector in settings.detectors:
        run(base_maps, detector)
    for stage in (suppression, evaluate, report):
        run(stage)
