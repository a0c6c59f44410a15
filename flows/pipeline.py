"""The whole pipeline as one flow, for runs that DVC does not start."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from flows.base_maps import base_maps
from flows.dataset import dataset
from flows.demo_data import demo_data
from flows.evaluate import evaluate
from flows.prompts import prompts
from flows.report import report
from flows.suppression import suppression
from flows.text_features import text_features
from nand_core.config import load_params


@flow(name="pipeline")
def pipeline(params: str = "params.yaml") -> None:
    """Every stage in order; items that nothing touched come from the cache."""
    detectors = load_params(Path(params)).detectors
    for stage in (demo_data, dataset, prompts, text_features):
        stage(params)
    for detector in detectors:
        base_maps(detector, params)
    for stage in (suppression, evaluate, report):
        stage(params)
