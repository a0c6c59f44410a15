"""What the shipped encoder reaches, on half of the demo's images: the bench's own way, with margin for the smaller set.

The figures of the whole demo are in the encoder's model card.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.embedded_model import about, demo_project, gains, held_out, phrases
from benchmarks.scratch import Scratch
from flows.local_server import local_server

GAIN = {"april_gan": 12, "patchcore": 9, "patchcore_random": 7, "winclip_0": 10, "winclip_1": 10}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, prefect_database: Path) -> Iterator[Scratch]:
    folder = tmp_path_factory.mktemp("embedded")
    made = demo_project(folder, without=("winclip_5",), train_good=16, test_good=8, per_type=5)
    with local_server(made.folder / ".nand/prefect", made.environment) as url:
        made.environment["PREFECT_API_URL"] = url
        yield made


@pytest.fixture(scope="module")
def own(demo: Scratch) -> pd.Series:
    return gains(demo)


def test_every_detector_gains(own: pd.Series) -> None:
    assert set(own.index) == set(GAIN)
    assert not {name: gain for name, gain in own.items() if gain < GAIN[name]}


def test_phrases_kept_out_of_training_keep_half_of_the_gain(demo: Scratch, own: pd.Series) -> None:
    said = phrases(held_out)
    assert all(said[name][defect] for name in said for defect in said[name])
    assert (gains(demo, said) >= own / 2).all()


def test_a_word_that_means_no_defect_changes_little(demo: Scratch, own: pd.Series) -> None:
    assert gains(demo, phrases(partial(about, "sunshine"))).abs().max() <= 0.3
