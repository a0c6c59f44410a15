"""One class again, after a normality of it was added or removed."""

from __future__ import annotations

from flows.evaluate import evaluate
from flows.examples import examples
from flows.prompts import prompts
from flows.report import report
from flows.suppression import suppression
from flows.text_features import text_features


def normality(class_name: str, params: str = "params.yaml") -> None:
    """Bring one class's prompts, text features, suppression maps and effects up to ``params``.

    No image is encoded that was before, and no base map drawn. The stages run as parts of this one: as a flow of its
    own each would take a while.

    Args:
        class_name: a class of the data set.
        params: settings with the change.
    """
    examples(params)
    prompts(params, class_name)
    for stage in (text_features, suppression, evaluate, report):
        print(f"{stage.__name__} of {class_name}", flush=True)
        stage(params, class_name)
