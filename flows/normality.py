"""One class again, after a normality of it was added or removed."""

from __future__ import annotations

from prefect import flow

from flows.evaluate import evaluate
from flows.examples import examples
from flows.prompts import prompts
from flows.report import report
from flows.suppression import suppression
from flows.text_features import text_features
from flows.trial import try_first


@flow(name="normality")
def normality(class_name: str, name: str = "", params: str = "params.yaml", limit: float = 1.0) -> None:
    """Bring one class's prompts, text features, suppression maps and effects up to ``params``.

    No image is encoded that was before, and no base map drawn. The stages run as parts of this flow, as one of its own
    would take each a while.

    Args:
        class_name: a class of the data set.
        name: the file's stem of an added normality: its phrases are printed.
        params: settings with the change.
        limit: share of the other anomalies that an added one may cost their alarm; 1 does not ask.

    Raises
    ------
    ConsentNeeded
        When it costs more; nothing is written then.
    """
    if name:
        try_first(class_name, name, params, limit)
    examples.fn(params)
    prompts.fn(params, class_name)
    for stage in (text_features, suppression, evaluate, report):
        print(f"{stage.name} of {class_name}", flush=True)
        stage.fn(params, class_name)
