"""Several normalities at once: no order, and Eq. 6 for one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nand_core.artifacts.maps import write_maps
from nand_core.artifacts.store import Store, sha256_file
from nand_core.decision import Claimed
from nand_core.errors import NandError
from nand_core.normality import suppress
from nand_core.settings import EvaluationSettings, Rule
from tasks.normalities import EffectSpec, judged, normalities
from tasks.scores import ScoreSpec, map_scores, scores
from tasks.work import Work

IDS = [f"carpet/test/{kind}/{i}.png" for kind in ("good", "thread") for i in range(3)]


def scored(base: Path, order: Sequence[Path], rule: Rule) -> np.ndarray:
    """Before and after what lies in ``order`` is claimed; each has the one after it as a rival."""
    rivals = dict(zip(sorted(order), sorted(order)[1:], strict=False))
    named = {path: sha256_file(path) for path in order}
    claims = [
        Claimed(suppression=named[path], rivals=(named[rivals[path]],) if path in rivals else ()) for path in order
    ]
    return map_scores(sha256_file(base), files_of(base, *order), [claims], IDS, rule)


def files_of(*paths: Path) -> dict[str, Path]:
    """By content."""
    return {sha256_file(path): path for path in paths}


def drawn(folder: Path, seed: int) -> tuple[Path, list[Path], np.ndarray, np.ndarray]:
    """A detector's maps and those of three normalities, in files and as arrays."""
    rng = np.random.default_rng(seed)
    base = rng.random((6, 16, 16), dtype=np.float32) * 9
    found = rng.random((3, 6, 16, 16), dtype=np.float32)
    paths = [folder / name for name in ("base.npz", "a.npz", "b.npz", "c.npz")]
    for path, maps in zip(paths, (base, *found), strict=True):
        write_maps(path, IDS, [maps], size=16)
    return paths[0], paths[1:], base, found


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 1, width=32), st.none() | st.floats(0, 1, width=32))
def test_the_order_of_normalities_changes_no_byte_of_a_score(tmp_path_factory, seed, alpha, level):
    base, found, *_ = drawn(tmp_path_factory.mktemp("maps"), seed)
    rule = Rule(alpha=alpha, level=level)
    given_scores = {scored(base, order, rule)[1].tobytes() for order in permutations(found)}
    assert len(given_scores) == 1


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 1, width=32))
def test_one_normality_is_equation_6(tmp_path_factory, seed, alpha):
    base, (first, *_), maps, found = drawn(tmp_path_factory.mktemp("maps"), seed)
    before, after = scored(base, [first], Rule(alpha=alpha))
    assert before.tobytes() == maps.max((1, 2)).astype(np.float64).tobytes()
    wanted = suppress(torch.from_numpy(maps), torch.from_numpy(found[0]), alpha).amax((1, 2)).double().numpy()
    assert after.tobytes() == wanted.tobytes()


def test_several_suppress_in_turn(tmp_path):
    base, found, maps, arrays = drawn(tmp_path, 1)
    _, after = scored(base, found, Rule())
    np.testing.assert_allclose(after, (maps * np.prod(1 - arrays, axis=0)).max((1, 2)), rtol=1e-5)


def test_the_items_key_and_bytes_know_no_order(tmp_path):
    base, found, *_ = drawn(tmp_path, 2)
    work = Work.__new__(Work)
    work.store = Store(root=tmp_path / "store")
    rows = [{"class": "carpet", "type": path.split("/")[2], "group": path.split("/")[2], "path": path} for path in IDS]
    for row in rows:
        row["group"] = row["group"].replace("good", "")

    def made(order: list[int]) -> tuple:
        # As the flow does it: sorted by content.
        paths = sorted((found[i] for i in order), key=lambda path: path.name)
        spec = EffectSpec(
            detector="a", rows=tuple(rows), added=("thread",), base=sha256_file(base),
            claims=tuple(Claimed(suppression=sha256_file(path)) for path in paths), files=files_of(base, *paths),
            rule=Rule(level=0.5), settings=EvaluationSettings(),
        )  # fmt: skip
        return spec.key(), normalities(spec, work).sha256

    assert made([0, 1, 2]) == made([2, 0, 1])
    assert made([0, 1]) != made([0, 2])


def test_texts_are_scored_together_as_each_is_alone(tmp_path):
    base, found, *_ = drawn(tmp_path, 4)
    work = Work.__new__(Work)
    work.store = Store(root=tmp_path / "store")
    files, rule = files_of(base, *found), Rule(alpha=0.5, level=7.0)
    zero, a, b, c = files
    texts = {"": c, "hole": a, "thread": b}
    others = {name: tuple(sorted({a, b} - {name})) for name in texts.values()}
    claims = {text: Claimed(suppression=name, rivals=others[name]) for text, name in texts.items()}
    spec = ScoreSpec(ids=tuple(IDS), base=zero, claims=claims, files=files, rule=rule)
    before, *after = np.load(work.store.path(scores(spec, work)))
    for text, together in zip(texts, after, strict=True):
        alone = map_scores(zero, files, [[claims[text]]], IDS, rule)
        assert alone.tobytes() == np.stack([before, together]).tobytes()


def test_maps_of_other_images_are_refused(tmp_path):
    base, (first, second, _), *_ = drawn(tmp_path, 3)
    write_maps(second, IDS[::-1], [np.zeros((6, 16, 16), np.float32)], size=16)
    with pytest.raises(NandError, match=r"b\.npz: its maps are not those of the manifest's test images"):
        scored(base, [first, second], Rule())


def test_the_other_images_of_an_examples_part_are_not_judged_either():
    rows = [{"class": "carpet", "type": one.split("/")[2], "group": "", "path": one, "part": one[-5]} for one in IDS]
    spec = EffectSpec(
        detector="a", rows=tuple(rows), added=(), left_out=(IDS[3],), base="", claims=(), files={},
        rule=Rule(), settings=EvaluationSettings(),
    )  # fmt: skip
    scores = np.arange(6.0)
    assert sorted(judged(spec, scores, scores)["id"]) == [one for one in IDS if not one.endswith("/0.png")]
    alone = [{name: text for name, text in row.items() if name != "part"} for row in rows]
    found = judged(spec.model_copy(update={"rows": tuple(alone)}), scores, scores)
    assert sorted(found["id"]) == [one for one in IDS if one != IDS[3]]
