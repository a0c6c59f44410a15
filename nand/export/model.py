"""An exported model and what belongs to it: made of the results of now, checked on their images, then put in place."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from flows.checkout import head
from flows.evaluate import NORMALITIES
from flows.inspection import Judges, require_results
from flows.run import ARTIFACTS
from nand.page.direct import Direct
from nand.project.place import PARAMS
from nand_core.artifacts.disk import temporary_file
from nand_core.artifacts.store import digest
from nand_core.config import Params, load_params
from nand_core.errors import NandError, nearest
from tasks.encoder import encoder_key

if TYPE_CHECKING:
    from flows.inbox.judge import Judge

NEEDED = ("onnx", "onnxscript", "onnxruntime")
CANNOT = {"external": "has saved maps alone", "plugin": "is a program that is not NAND's"}


@dataclass(frozen=True)
class Exported:
    """How large the model is in bytes, on how many images it was checked, and the largest difference found there."""

    size: int
    images: int
    difference: float


def export(
    class_name: str, detector: str, model: Path, *, force: bool = False, tell: Callable[[str], None] = lambda _: None
) -> Exported:
    """One detector of a class with all its normalities of now, as an ONNX file with a JSON file beside it.

    Args:
        detector: "" for the first of the settings.
        force: replace files that are there.
        tell: told each step as it begins.

    Raises
    ------
    NandError
        For what is not there or cannot be exported, results that are not those of the settings, and a model that does
        not give the test images the maps, scores and alarms of the results; no file is written then.
    """
    description = _place(model, force)
    params = load_params(PARAMS)
    detector = detector or next(iter(params.detectors))
    _check_settings(params, detector)
    require_results()
    run = Direct.of(params)
    judges = Judges(run, detector)
    if class_name not in judges.groups:
        raise NandError(f"unknown class {class_name!r}{nearest(class_name, judges.groups)}")
    if class_name not in judges.thresholds:
        raise NandError(f"{class_name}: has no threshold; add a normality, or fix evaluation.threshold")
    tell("reading what the pipeline made")
    judge = judges.of(class_name)
    effect = pd.read_parquet(NORMALITIES)

    from nand.export.graph import Graph, onnx_model, views
    from nand.export.parity import Results
    from nand_runtime import Inspector

    thresholds = judge.threshold_before, judge.threshold_after
    results = Results.read(
        ARTIFACTS / "base_maps" / detector / f"{class_name}.npz",
        effect[(effect["detector"] == detector) & (effect["class"] == class_name)],
        thresholds,
    )
    fixed = params.evaluation.for_(detector, class_name).fixed is not None
    inputs, limits = views(judge), thresholds if fixed else results.limits()
    said = _description(run, judge, class_name) | {"inputs": {name: asdict(one) for name, one in inputs.items()}}
    tell("tracing the graph")
    made = onnx_model(Graph(judge, limits), inputs, {"nand": json.dumps(said, sort_keys=True)})
    with temporary_file(model.parent, ".onnx") as onnx_file, temporary_file(model.parent, ".json") as json_file:
        content = made.SerializeToString(deterministic=True)
        onnx_file.write_bytes(content)
        tell(f"checking it on {len(results.maps)} images")
        difference = results.difference(Inspector(onnx_file), run.work.root, run.bits)
        said |= {"sha256": hashlib.sha256(content).hexdigest()}
        said |= {"checked": {"images": len(results.maps), "difference": float(f"{difference:.2g}")}}
        json_file.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
        os.replace(json_file, description)
        os.replace(onnx_file, model)
    return Exported(len(content), len(results.maps), difference)


def _place(model: Path, force: bool) -> Path:
    """Where the description goes.

    Raises
    ------
    NandError
        For what could not be written in the end.
    """
    if model.suffix != ".onnx":
        raise NandError(f"{model}: call it *.onnx; its description is written beside it as *.json")
    description = model.with_suffix(".json")
    for path in (model, description):
        if path.is_dir() or (path.exists() and not force):
            raise NandError(f"{path}: is there already; name another file, or replace it with --force")
    try:
        if model.parent.is_dir():
            with temporary_file(model.parent, ""):
                pass
    except OSError as error:
        raise NandError(f"{model.parent}: cannot be written ({error.strerror}); name another folder") from error
    return description


def _check_settings(params: Params, detector: str) -> None:
    if detector not in params.detectors:
        raise NandError(f"detectors: unknown detector {detector!r}{nearest(detector, params.detectors)}")
    settings = params.detectors[detector]
    if why := CANNOT.get(settings.kind):
        raise NandError(f"detectors.{detector}: {why}, no graph can hold it; export another detector")
    if params.encoder.tiles is not None:
        raise NandError("encoder.tiles: a graph sees one image of one size and cuts none; set it to null and run again")
    encoders = {"encoder": params.encoder, f"detectors.{detector}.encoder": getattr(settings, "encoder", None)}
    for name, one in encoders.items():
        if one is not None and one.precision not in ("auto", "fp32"):
            raise NandError(f"{name}.precision: {one.precision}, but a model is exported in fp32; set it and run again")
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise NandError(f"{', '.join(missing)}: not installed; nand export needs pip install 'nand[onnx]'")


def _description(run: Direct, judge: Judge, class_name: str) -> dict[str, Any]:
    """What is known of a model before it is made."""
    params = run.params
    settings = {
        "encoder": encoder_key(params.encoder),
        "detector": params.detectors[judge.name].model_dump(mode="json"),
        "suppression": params.suppression.model_dump(mode="json"),
        "evaluation": params.evaluation.for_(judge.name, class_name).model_dump(mode="json"),
        "normalities": [one.model_dump(mode="json") for one in params.prompts.normalities.get(class_name, ())],
    }
    return {
        "class": class_name,
        "detector": judge.name,
        "normalities": [one.text for one in judge.normalities],
        "threshold_before": judge.threshold_before,
        "threshold_after": judge.threshold_after,
        "good_level": judge.rule.level,
        "bits": run.bits,
        "settings": digest(settings),
        "commit": head(),
        "versions": {name: version(name) for name in ("nand", "torch", *NEEDED)},
    }
