"""The project as its settings and results stand at one moment, and one class of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from flows.claims import Tried, held_claims
from flows.evaluate import NORMALITIES, decision_rules, effect_specs
from flows.examples import Reference
from flows.features import class_shards, text_vectors
from flows.inbox.current import check_current
from flows.run import ARTIFACTS, MANIFEST
from flows.scope import texts
from nand.page.direct import Direct, holding
from nand.project.place import PARAMS
from nand_core.artifacts.maps import MapFile
from nand_core.artifacts.store import sha256_file
from nand_core.asked import Vector
from nand_core.config import load_params
from nand_core.datasets.parts import judged_rows
from nand_core.decision import Claim, Claimed, final_maps
from nand_core.errors import NandError
from nand_core.normalities import Normality, current, known_groups
from nand_core.operating import effect_table
from nand_core.settings import Rule
from nand_core.vlm.tokenizers import load_tokenizer, unknown_words
from tasks.encoder import shared_encoder
from tasks.normalities import EffectSpec, judged
from tasks.scores import BaseScoreSpec, base_scores, opened

DRAFT = Path("draft.npz")
"""Stands for the suppression maps of what is no normality yet: they are in no file."""
OPEN = 32
"""Classes that are kept ready; no map of theirs is."""


def digest_now() -> str:
    """Of params.yaml: who made a draft on another one is told."""
    try:
        return hashlib.sha256(PARAMS.read_bytes()).hexdigest()
    except OSError as error:
        raise NandError(f"{PARAMS}: not readable ({error.strerror})") from error


def stamp() -> tuple[object, ...]:
    """Another one where the settings or the results are others."""
    found = [path.stat() if path.exists() else None for path in (NORMALITIES, MANIFEST)]
    return digest_now(), *((one.st_mtime_ns, one.st_size) if one else None for one in found)


@lru_cache(256)
def _digest(path: Path, *version: int) -> str:
    return sha256_file(path)


def _content(path: Path) -> str:
    found = path.stat()
    return _digest(path, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class Snapshot:
    """Settings and results that belong together.

    Raises
    ------
    NandError
        When there are no results yet, or they are not those of the settings.
    """

    def __init__(self) -> None:
        self.digest = digest_now()
        self.params = load_params(PARAMS)
        self.run = Direct.of(self.params)
        self.groups = known_groups(self.run.manifest)
        self.detectors = tuple(self.params.detectors)
        self.held: dict[str, list[Normality]] = {}
        for one in current(self.params.prompts, self.groups):
            self.held.setdefault(one.class_name, []).append(one)
        if not NORMALITIES.is_file():
            raise NandError("no results yet; run 'nand repro' first")
        self.effect = pd.read_parquet(NORMALITIES)
        names = (self.params.prompts, self.params.detectors)
        check_current(texts(self.run, None), self.held, text_vectors(), self.effect, ARTIFACTS, *names)
        self._ready: dict[str, View] = {}

    def view(self, class_name: str) -> View:
        """One class; the last few are kept ready."""
        if class_name not in self.groups:
            raise NandError(f"no class is called {class_name!r}")
        found = self._ready.pop(class_name, None) or View(self, class_name)
        self._ready[class_name] = found
        while len(self._ready) > OPEN:
            self._ready.pop(next(iter(self._ready)))
        return found

    @cached_property
    def tokenizer(self) -> Any:
        return load_tokenizer(self.params.encoder)

    def unknown(self, text: str) -> list[str]:
        """The words of a text that the text encoder has never seen."""
        return unknown_words(self.tokenizer, text)


class View:
    """One class's test images, what each detector says of them, and what is normal now.

    Attributes:
        rows: the manifest's, in the maps' order.
        held: its normalities.
    """

    def __init__(self, snapshot: Snapshot, name: str) -> None:
        self.snapshot, self.name = snapshot, name
        self.run, self.params = snapshot.run, snapshot.params
        manifest = self.run.manifest
        self.rows = manifest[(manifest["split"] == "test") & (manifest["class"] == name)].reset_index(drop=True)
        self.ids: list[str] = self.rows["path"].tolist()
        self.place = {path: position for position, path in enumerate(self.ids)}
        self.number = {str(key)[:16]: position for position, key in enumerate(self.rows["sha256"])}
        self.held = snapshot.held.get(name, [])
        with holding(self.run.work.store):
            self.rules = decision_rules(self.run, _content, name)
        self.now = snapshot.effect[snapshot.effect["class"] == name]
        self.base = {
            detector: opened(ARTIFACTS / "base_maps" / detector / f"{name}.npz", self.ids)
            for detector in snapshot.detectors
        }
        self.claims = [one.claimed for one in held_claims(self.run, self.held, Path.as_posix, {})]
        self.files = {content: opened(Path(content), self.ids) for content in contents(self.claims)}
        self._states: dict[str, pd.DataFrame] = {}
        self._prepared = False

    @cached_property
    def shards(self) -> tuple[Any, ...]:
        """The encoded test images."""
        with holding(self.run.work.store):
            return class_shards(self.run, "test", encoded=True, class_name=self.name)[self.name]

    def prepare(self) -> None:
        """What the first question would else wait for; once."""
        if self._prepared:
            return
        self._prepared = True
        shared_encoder(self.run.work)
        text_vectors()
        if self.shards:
            with holding(self.run.work.store):
                Reference(self.run).distances(self.name, self.shards)

    def specs(self, run: Direct, new: Normality, f_add: Vector | None) -> dict[str, EffectSpec]:
        """Of each detector: what judges the images with ``new``, in the settings of ``run``, beside what is held.

        Maps go by the path of their file; a normality with files of its own has :data:`DRAFT` in the place of its maps.
        ``f_add`` is the feature of its text, if it is asked.
        """
        tried = {new.name: Tried(DRAFT, f_add)} if new.apart else {}
        found = effect_specs(run, self.rules, Path.as_posix, self.name, tried)
        return {detector: spec for (_, detector), spec in found.items()}

    def state(self, detector: str) -> pd.DataFrame:
        """Every test image as it is judged now, by its path: kind, score, limit, rejected, and whether it is counted.

        One that is an example of a normality is not judged: its score is the one before, and no limit judges it.
        """
        if detector not in self._states:
            self._states[detector] = self._state(detector)
        return self._states[detector]

    def _state(self, detector: str) -> pd.DataFrame:
        rows = self.now[self.now["detector"] == detector]
        suffix = "after"
        if rows.empty:
            rows, suffix = self._plain(detector), "before"
        rows = rows.set_index("id").reindex(self.ids)
        counted = rows[f"score_{suffix}"].notna()
        kinds = self.rows["group"].where(self.rows["group"] != "", self.rows["type"])
        return pd.DataFrame(
            {
                "number": range(len(self.ids)),
                "kind": kinds.to_numpy(),
                "good": (self.rows["type"] == "good").to_numpy(),
                "score": rows[f"score_{suffix}"].where(counted, pd.Series(self._before(detector), self.ids)),
                "limit": rows[f"threshold_{suffix}"],
                "rejected": rows[f"alarm_{suffix}"].eq(True),
                "counted": counted,
                "key": self.rows["sha256"].str[:16].to_numpy(),
                "width": self.rows["width"].to_numpy(),
                "height": self.rows["height"].to_numpy(),
            },
            index=self.ids,
        )

    def _plain(self, detector: str) -> pd.DataFrame:
        """As long as nothing was added: the rows of a detector by its own scores."""
        scores = self._before(detector)
        spec = EffectSpec(
            detector=detector,
            rows=judged_rows(self.rows),
            added=(),
            base="",
            claims=(),
            files={},
            rule=self.rules[detector, self.name],
            settings=self.params.evaluation.for_(detector, self.name),
        )
        return effect_table(judged(spec, scores, scores))

    def _before(self, detector: str) -> np.ndarray:
        path = self.base[detector].path
        spec = BaseScoreSpec(ids=tuple(self.ids), base=_content(path), base_path=path)
        with holding(self.run.work.store):
            (record,) = self.run.items(base_scores, {"": spec}).values()
            found: np.ndarray = np.load(self.run.work.store.path(record), allow_pickle=False)
        return found

    def final(self, detector: str, number: int) -> tuple[Tensor, float]:
        """A_final (256, 256) of an image as it is judged now, and the limit that judges it (nan: none)."""
        part = slice(number, number + 1)
        anomaly = torch.from_numpy(self.base[detector][part])
        found = {content: torch.from_numpy(file[part]) for content, file in self.files.items()}
        limit = float(self.state(detector)["limit"].iloc[number])
        return decided(anomaly, [one.of(found) for one in self.claims], self.rules[detector, self.name])[0], limit


def decided(anomaly: Tensor, claims: Sequence[Claim], rule: Rule) -> Tensor:
    """A_final of maps (n, 256, 256) by all that is claimed to be fine: the page's one call of the decision."""
    return final_maps(anomaly, claims, rule) if claims else anomaly


def contents(claims: Iterable[Claimed]) -> list[str]:
    """Of all maps that are claimed, each once."""
    return sorted({content for one in claims for content in (one.suppression, *one.rivals)})


def files_of(spec: EffectSpec, ids: list[str]) -> dict[str, MapFile | None]:
    """The maps that judge, by content; None for those of the draft."""
    found = {content: spec.files[content] for content in contents(spec.claims)}
    return {content: None if path == DRAFT else opened(path, ids) for content, path in found.items()}


class Current:
    """The snapshot of now: made anew when the settings or the results are others."""

    def __init__(self, make: Callable[[], Snapshot] = Snapshot) -> None:
        self._make = make
        self._stamp: tuple[object, ...] = ()
        self._made: Snapshot | None = None

    def __call__(self) -> Snapshot:
        """
        Raises
        ------
        NandError
            As :class:`Snapshot`.
        """
        now = stamp()
        if self._made is None or now != self._stamp:
            try:
                self._made, self._stamp = self._make(), now
            except NandError:
                # A change at work has written its results, and the settings are yet to come.
                if self._made is None or now[0] != self._stamp[0]:
                    raise
        return self._made
