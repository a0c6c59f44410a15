"""A normality as a question to the encoder - a text (Eq. 4), examples, or both - and the maps that answer it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nand_core.decision import Claim
from nand_core.examples import (
    Good,
    Shown,
    enlarged,
    example_map,
    good_distances,
    kept_share,
    patch_vectors,
    understood,
)
from nand_core.normality import distinct, suppression_map
from nand_core.settings import ExampleSettings, SuppressionSettings
from nand_core.tiles import Canvas, Grid
from nand_core.vlm.features import ImageFeatures

if TYPE_CHECKING:
    from nand_core.vlm.encoder import VLM

Vector = tuple[float, ...]


@dataclass(frozen=True)
class Asked:
    """A text and the unit text features of its question: itself, plain normality, and what competes with it."""

    text: str
    f_add: Vector
    f_nor: Vector
    others: tuple[Vector, ...] = ()


@dataclass(frozen=True)
class Held:
    """A normality: its text, the question about it if it is asked, and its examples if there are some.

    ``rivals`` are the questions about the texts that compete with it for an unusual region (``nand_core.decision``).
    """

    text: str
    asked: Asked | None = None
    shown: Shown | None = None
    rivals: tuple[Asked, ...] = ()
    strength: float = 1.0


@dataclass(frozen=True)
class Compared:
    """Examples, and the distances (N, h, w) of the asked images' patches to the nearest good ones.

    ``means`` (N, h, w, 1 + K) is what the patches mean, where that counts.
    """

    shown: Shown
    distances: Tensor
    settings: ExampleSettings
    means: Tensor | None = None


def ask(
    text: str,
    f_add: Vector,
    f_nor: Vector,
    known: Mapping[str, Vector],
    settings: SuppressionSettings,
    *,
    group: str = "",
    apart: bool = True,
) -> Asked:
    """The question about a text of a class.

    With ``settings.competing`` the class's other known groups take part; for a text from outside the protocol
    (``apart``), those that mean something else.

    Args:
        known: unit text features of the class's labelled groups, by name.
        group: the labelled group that the text is, if any: it does not compete with itself.
    """
    others = competitors(f_add, f_nor, known, settings, group=group, apart=apart)
    return Asked(text, f_add, f_nor, tuple(others.values()))


def competitors(
    f_add: Vector,
    f_nor: Vector,
    known: Mapping[str, Vector],
    settings: SuppressionSettings,
    *,
    group: str = "",
    apart: bool = True,
) -> dict[str, Vector]:
    """Those of the ``known`` groups that compete with a text, as in :func:`ask`; none unless ``settings.competing``."""
    others = {name: vector for name, vector in known.items() if name != group} if settings.competing else {}
    if not (apart and others):
        return others
    found = distinct(torch.tensor(f_add), torch.tensor(f_nor), torch.tensor(list(others.values())))
    return {name: vector for (name, vector), other in zip(others.items(), found.tolist(), strict=True) if other}


def competing(
    f_nor: Vector, known: Mapping[str, Vector], names: Sequence[str], settings: SuppressionSettings
) -> dict[str, Asked]:
    """What the encoder is asked about each of the ``known`` groups that ``names`` has, by the group's name alone."""
    return {name: ask(name, known[name], f_nor, known, settings, group=name, apart=False) for name in names}


@torch.no_grad()
def answer(vlm: VLM, features: ImageFeatures, asked: Asked, settings: SuppressionSettings) -> Tensor:
    """A_sup of the encoded images: (N, 256, 256) float32 in [0, 1], on the CPU."""
    f_add, f_nor = (torch.tensor(vector, device=vlm.device) for vector in (asked.f_add, asked.f_nor))
    others = torch.tensor(asked.others, device=vlm.device) if asked.others else None
    layers = [tokens.to(vlm.device) for tokens in features.asked]
    return suppression_map(layers, vlm.linear, f_add, f_nor, vlm.logit_scale, settings, others).cpu()


@torch.no_grad()
def seen(
    vlm: VLM,
    features: ImageFeatures,
    asked: Asked | None,
    compared: Compared | None,
    settings: SuppressionSettings,
) -> Tensor:
    """A_sup (N, 256, 256) of a normality that a text, examples, or both describe: in [0, 1], on the CPU.

    What either says is normal is: the larger of both, but for what looks like the examples that are not fine.
    """
    found = []
    if asked is not None:
        found.append(answer(vlm, features, asked, settings))
    if compared is not None:
        vectors = patch_vectors([tokens.cpu() for tokens in features.layers])
        if found:
            share = kept_share(vectors, compared.distances, compared.shown)
            found = [found[0] * enlarged(share)] if isinstance(share, Tensor) else found
        if len(compared.shown.like):
            known = compared.shown, compared.settings, compared.means
            found.append(enlarged(example_map(vectors, compared.distances, *known)))
    return torch.stack(found).amax(dim=0)


def claims(
    vlm: VLM,
    features: ImageFeatures,
    held: Sequence[Held],
    good: Good | None,
    settings: SuppressionSettings,
    examples: ExampleSettings,
) -> list[Claim]:
    """What is seen of several normalities, as :func:`seen`, and of their rivals; nothing is asked or compared twice.

    Args:
        good: what good images look like; needed where there are examples.
    """
    distances, means = None, None
    if good is not None and any(one.shown for one in held):
        distances = good_distances(patch_vectors([layer.cpu() for layer in features.layers]), good)
    for one in held:  # one class has one set of kinds
        if one.shown is not None and one.shown.meaning is not None and means is None:
            means = understood(vlm, features, one.shown.meaning.kinds)
    rivals = {one: answer(vlm, features, one, settings) for one in dict.fromkeys(r for h in held for r in h.rivals)}
    found = []
    for one in held:
        compared = None
        if one.shown is not None:
            if distances is None:
                raise ValueError("examples, but no good patches to compare the images with")
            compared = Compared(one.shown, distances, examples, means)
        own = seen(vlm, features, one.asked, compared, settings)
        found.append(Claim(own, tuple(rivals[other] for other in one.rivals), one.strength))
    return found


class ClaimCanvas:
    """What is claimed of an image, of what is claimed of its tiles (``nand_core.tiles``)."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._canvases: list[Canvas] = []
        self._places: list[tuple[int, ...]] = []
        self._strengths: list[float] = []

    def add(self, found: Sequence[Claim]) -> None:
        """The next tiles' claims, which :func:`claims` gave: in one order for all of them."""
        named = [[id(maps) for maps in (one.suppression, *one.rivals)] for one in found]
        maps = {id(one): one for claim in found for one in (claim.suppression, *claim.rivals)}
        if not self._canvases:  # a rival of several normalities is one map
            self._canvases = [Canvas(self._grid) for _ in maps]
            place = {name: position for position, name in enumerate(maps)}
            self._places = [tuple(place[name] for name in claim) for claim in named]
            self._strengths = [one.strength for one in found]
        for canvas, one in zip(self._canvases, maps.values(), strict=True):
            canvas.add(one)

    @property
    def claims(self) -> list[Claim]:
        """Of the whole image, maps (1, 256, 256)."""
        whole = [canvas.map[None] for canvas in self._canvases]
        return [
            Claim(whole[own], tuple(whole[place] for place in rivals), strength)
            for (own, *rivals), strength in zip(self._places, self._strengths, strict=True)
        ]
