"""``python -m benchmarks.wrong_texts [PROJECT]``: what texts that fit nothing cost, on a computed project.

Every text is tried for every class in turn, beside nothing else, as the page and ``nand try`` do: out of the cache. The
texts are words that fit no fault, and the names of all classes' groups. Of a class's own group the other groups' alarms
count, of any other text every fault's. Beyond ``evaluation.lost_alarms`` by any detector ``nand add`` asks before it
goes on, and without a terminal refuses; the table says how often, and what is lost where it does not.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks.scratch import ROOT
from nand.page.draft import Draft
from nand.page.preview import Preview
from nand.page.server import Server
from nand_core.effect import lost, others
from nand_core.errors import NandError
from nand_core.report.tables import markdown_table

TEXTS = (
    "swarf", "sunshine", "banana", "monday", "jazz", "tomorrow", "blue sky", "happiness", "engine", "river", "chess",
    "window", "music", "paper clip", "cloud", "fog", "sugar", "yellow", "number seven", "umbrella", "whisper", "gold",
)  # fmt: skip
KINDS = ("fits nothing", "another class's group", "own group")


@dataclass(frozen=True)
class Tried:
    """A text for a class: the share of alarms lost in percent by the detector that loses most, and what is said."""

    kind: str
    text: str
    class_name: str
    lost: float
    outcome: str


def tried(server: Server, class_name: str, text: str, own: tuple[str, ...]) -> Tried:
    """Try a text for a class."""
    kind = KINDS[2] if text in own else KINDS[0] if text in TEXTS else KINDS[1]
    draft, detector = Draft(**{"class": class_name}, text=text), server.snapshot().detectors[0]
    try:
        *_, found = server.look(draft, detector, live=False)
    except NandError:
        return Tried(kind, text, class_name, 0.0, "refused")
    assert isinstance(found, Preview)
    rows = found.rows.assign(lost=lost(found.rows))[others(found.rows)]
    share = 100 * rows.groupby("detector")["lost"].mean().max()
    return Tried(kind, text, class_name, share, "asked" if found.asks else "added")


def every(server: Server) -> Iterator[Tried]:
    """Every text for every class."""
    groups = server.snapshot().groups
    texts = sorted({*TEXTS, *(group for own in groups.values() for group in own)})
    for name, own in groups.items():
        for text in texts:
            one = tried(server, name, text, own)
            print(f"{name}: {text!r} ({one.kind}): {one.outcome}, {one.lost:.1f} % lost", file=sys.stderr, flush=True)
            yield one


def tables(rows: pd.DataFrame) -> str:
    """By kind of text, then by text."""
    found = []
    for by in (["kind"], ["kind", "text"]):
        lines = []
        for key, part in rows.groupby(by):
            unasked = part.loc[part["outcome"] == "added", "lost"]
            counts = [int((part["outcome"] == one).sum()) for one in ("refused", "asked")]
            most = [f"{one.max():.1f}" if len(one) else "–" for one in (part["lost"], unasked)]
            lines.append([*key, len(part), *counts, *most])
        header = [*by, "classes tried", "refused outright", "asked about", "most lost %", "most lost unasked %"]
        found.append(markdown_table(header, lines, text_columns=len(by)))
    return "\n".join(found)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wrong_texts", description=__doc__)
    parser.add_argument("project", nargs="?", type=Path, default=ROOT, help="its results have to be there")
    began = time.monotonic()
    with contextlib.chdir(parser.parse_args().project):
        server = Server()
        rows = pd.DataFrame(list(every(server)))
        server.close()
    print(tables(rows))
    print(f"{len(rows)} additions in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
