"""One class again, after a normality of it was added or removed."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from flows.evaluate import evaluate
from flows.examples import examples
from flows.prompts import prompts
from flows.report import report
from flows.run import ARTIFACTS
from flows.suppression import suppression
from flows.text_features import text_features
from nand_core.report.inputs import read_json
from nand_core.vlm import encoder  # noqa: F401 - needed in any case, and loaded while the server starts


@flow(name="normality")
def normality(class_name: str, name: str = "", params: str = "params.yaml") -> None:
    """Bring one class's prompts, text features, suppression maps and effects up to ``params``.

    No image is encoded that was before, and no base map drawn. ``name`` is the file's stem of an added normality:
    its phrases are printed. The stages run as parts of this flow, as one of its own would take each a while.
    """
    examples.fn(params)
    prompts.fn(params, class_name)
    made = ARTIFACTS / "prompts" / class_name / f"{name}.json"
    if name and made.is_file():  # examples alone have no phrases
        describe(made)
    for stage in (text_features, suppression, evaluate, report):
        stage.fn(params, class_name)


def describe(path: Path) -> None:
    """Print a prompt set's phrases and where they come from."""
    made = read_json(path)
    source = " ".join(str(made[key]) for key in ("provider", "model") if made[key])
    print(f"{made['class']}, {made['group']!r}: {len(made['phrases'])} phrases ({source})", flush=True)
    for phrase in made["phrases"]:
        print(f"  {phrase}", flush=True)
