"""Normality by example: where an image looks more like accepted images than like good ones.

A patch's distance to the nearest patch of the examples, beside its distance to the nearest good patch, says how much of
what a detector sees there is fine: A_sup = max(0, 1 - d_ex / d_good). Multiplied onto PatchCore's map of the same
features (Eq. 6) that leaves min(d_good, d_ex): what adding the patches to its memory bank would give. On top of that
come a contrast, a maximum filter, the vote of unusual regions and what a patch means (``ExampleSettings``,
``nand_core.meaning``); docs/examples.md has what each is worth.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save
from torch import Tensor

from nand_core.detectors.coreset import greedy_coreset, start_from_point
from nand_core.detectors.patches import Bank, joined_patches, nearest_neighbours
from nand_core.errors import NandError
from nand_core.meaning import Kinds, Meaning, described, meanings, meant
from nand_core.regions import quotient, regions, replaced, sums, taken, values_at
from nand_core.settings import MAP_SIZE, ExampleSettings
from nand_core.tiles import Grid

if TYPE_CHECKING:
    from nand_core.vlm.encoder import VLM
    from nand_core.vlm.features import ImageFeatures
    from nand_core.vlm.settings import TileSettings

UNLIKE_GOOD = 0.98
"""Where a larger share of an example looks like nothing good, it does not say what is meant."""
_HARDLY = 0.25
"""Of the tile that shows most of what is meant: what shows less than this share of that is background."""
_PROBES = 16
"""Patches of each good image that say how far good patches lie from those of other images."""


@dataclass(frozen=True)
class Good:
    """What the good images of a class look like.

    Attributes:
        bank: (m, C) float32 patches of them.
        level: the distance to patches of *other* good images below which the share ``settings.level`` of them lies.
    """

    bank: Tensor
    level: float

    @cached_property
    def searched(self) -> Bank:
        """The bank as every image is compared with it."""
        return Bank(self.bank)


@dataclass(frozen=True)
class Shown:
    """A normality as examples show it.

    Attributes:
        like: (n, C) patches that are fine.
        unlike: (m, C) patches that have to keep raising an alarm; m may be 0.
        level: that of the good images that they were compared with.
        meaning: which kinds of defect they show; None where that does not count.
    """

    like: Tensor
    unlike: Tensor
    level: float
    meaning: Meaning | None = None


class Pictured(NamedTuple):
    """What an example consists of, on the CPU.

    Attributes:
        patches: (n, C), of all views that count.
        unusual: (1,), the share of the picture that no good image shows.
        kinds: (K,), the shares of the kinds of defect that it shows; K = 0 where nobody asked.
    """

    patches: Tensor
    unusual: Tensor
    kinds: Tensor


def patch_vectors(layers: Sequence[Tensor]) -> Tensor:
    """The encoder's layers (N, C_l, h_l, w_l) -> (N, h, w, C): all but the last, as PatchCore's default takes them."""
    return joined_patches(list(layers[:-1] or layers))


def learn_good(
    batches: Iterable[Tensor], images: int, settings: ExampleSettings, tiles: Sequence[int] = ()
) -> Good:
    """Keep a seeded sample of the good images' patches, so many of each image that the bank is full with all.

    Args:
        batches: patch vectors (N, h, w, C) of the good images or of their tiles, a few at a time.
        images: how many there are in all.
        tiles: how many each image has; none where they are looked at as a whole.

    Raises:
        NandError: there are fewer than two.
    """
    if images < 2:
        raise NandError(f"examples: {images} good images to compare them with; at least two are needed")
    generator = torch.Generator().manual_seed(settings.seed)
    share = max(1, settings.bank // images)
    kept, owners, probes = [], [], []
    each = (patches for batch in batches for patches in batch.flatten(1, 2))
    for count, parts in enumerate(tiles or [1] * images):
        samples = [_sample(patches, share, parts, generator) for patches in islice(each, parts)]
        chosen = torch.cat([sample for sample, _ in samples])
        if len(chosen) > share:
            chosen = chosen[torch.randperm(len(chosen), generator=generator)[:share].to(chosen.device)]
        kept.append(chosen)
        probes.append(torch.cat([probe for _, probe in samples]))
        owners += [count] * len(chosen)
    bank, owner = torch.cat(kept), torch.tensor(owners)
    found = []
    for number, patches in enumerate(probes):
        others = bank[(owner != number).to(bank.device)]
        found.append(nearest_neighbours(patches, others)[0])
    level = torch.quantile(torch.cat(found).double(), settings.level)
    return Good(bank, float(level))


def _sample(patches: Tensor, share: int, parts: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Of the patches (n, C) of one of an image's ``parts``: its part of the image's share, and of its probes."""
    order = torch.randperm(len(patches), generator=generator).to(patches.device)
    return patches[order[: -(-share // parts)]], patches[order[-max(1, _PROBES // parts) :]]


def good_distances(vectors: Tensor, good: Good) -> Tensor:
    """(N, h, w, C) -> (N, h, w): of every patch to the nearest good one."""
    flat = vectors.flatten(0, 2).to(good.bank.device)
    return good.searched.nearest(flat)[0].to(vectors.device).view(vectors.shape[:3])


def turned(image: Image.Image) -> list[Image.Image]:
    """The image and its three reflections: what is fine is fine whichever way the part lies."""
    flip, mirror = Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.FLIP_LEFT_RIGHT
    return [image, image.transpose(flip), image.transpose(mirror), image.transpose(Image.Transpose.ROTATE_180)]


def reflected(where: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """A mask (H, W) turned as :func:`turned` turns its image."""
    return [where, where[::-1], where[:, ::-1], where[::-1, ::-1]]


def chosen_patches(distances: Tensor, good: Good, where: NDArray[np.bool_] | None = None) -> Tensor:
    """Which patches make an image an example: those that no good image shows.

    Args:
        distances: (h, w) of its patches to the nearest good one.
        where: (H, W), where in the image what is meant lies; then all patches that it covers by a quarter or more,
            at least the one that it covers most.

    Returns:
        (h, w) bool; none where the image shows nothing unusual.
    """
    if where is None:
        return distances > good.level
    place = torch.from_numpy(where.copy())[None, None].float()
    covered = F.interpolate(place, size=tuple(distances.shape), mode="area")[0, 0]
    return (covered >= min(0.25, float(covered.max()))).to(distances.device)


def picture_patches(
    vlm: VLM,
    picture: Image.Image,
    where: NDArray[np.bool_] | None,
    good: Good,
    settings: ExampleSettings,
    tiles: TileSettings | None = None,
    kinds: Kinds | None = None,
) -> Pictured:
    """What an example consists of, in all the views of it that count.

    Args:
        picture: RGB.
        where: (H, W), where in it what is meant lies; None: wherever no good image shows the like.
        tiles: how a large picture is cut; of those that hardly show what is meant nothing is taken.
        kinds: the kinds of defect to ask about.
    """
    if tiles is None:
        return _joined([_views(vlm, picture, where, good, settings, kinds)])
    boxes = Grid.of(picture.size, tiles).boxes
    places = [None if where is None else where[top:bottom, left:right] for left, top, right, bottom in boxes]
    shown = [1 if at is None else int(at.sum()) for at in places]
    found = [
        _views(vlm, picture.crop(box), at, good, settings, kinds)
        for box, at, count in zip(boxes, places, shown, strict=True)
        if count >= _HARDLY * max(shown)
    ]
    return _joined(found)


class _Views(NamedTuple):
    """Of one tile: its chosen patches, how far they lie from good ones, what they mean, and its unusual share."""

    patches: Tensor
    distances: Tensor
    meanings: Tensor
    unusual: Tensor


def _views(
    vlm: VLM,
    picture: Image.Image,
    where: NDArray[np.bool_] | None,
    good: Good,
    settings: ExampleSettings,
    kinds: Kinds | None,
) -> _Views:
    views = turned(picture) if settings.turns else [picture]
    features = vlm.encode_images(torch.stack([vlm.preprocess(view) for view in views])).cpu()
    vectors = patch_vectors(features.layers)
    distances = good_distances(vectors, good)
    places = [None] * len(views) if where is None else reflected(where)[: len(views)]
    chosen = torch.stack([chosen_patches(far, good, at) for far, at in zip(distances, places, strict=True)])
    means = torch.empty(*distances.shape, 1) if kinds is None else understood(vlm, features, kinds)
    unusual = (distances[0] > good.level).float().mean()
    return _Views(vectors[chosen].contiguous(), distances[chosen], means[chosen], unusual)


def _joined(tiles: Sequence[_Views]) -> Pictured:
    patches, distances, means = (torch.cat(parts) for parts in list(zip(*tiles, strict=True))[:3])
    unusual = torch.stack([tile.unusual for tile in tiles]).mean()[None]
    return Pictured(patches, unusual, described(means, distances))


def understood(vlm: VLM, features: ImageFeatures, kinds: Kinds) -> Tensor:
    """What the patches that :func:`patch_vectors` gives mean (``nand_core.meaning``): (N, h, w, 1 + K), on the CPU."""
    layers = [tokens.to(vlm.device) for tokens in features.asked]
    return meanings(layers, vlm.linear, kinds, vlm.logit_scale, features.layers[0].shape[-2:]).cpu()


def example_file(found: Pictured) -> bytes:
    """What :func:`picture_patches` gives, as safetensors. Several examples are taken in the order of their sha256."""
    return save(found._asdict())


def together(parts: Sequence[Tensor], settings: ExampleSettings) -> Tensor:
    """The patches (n_i, C) of several examples as those of one normality, at most ``settings.patches``."""
    return coreset(torch.cat(list(parts)), settings.patches, settings.seed) if parts else torch.empty(0, 0)


def shown_by(
    like: Sequence[Pictured], unlike: Sequence[Pictured], level: float, settings: ExampleSettings, kinds: Kinds | None
) -> Shown:
    """A normality as its examples show it: at most ``settings.patches`` of each side, and the ``kinds`` if asked.

    Args:
        level: that of the good images.
    """
    accepted, refused = (together([one.patches for one in side], settings) for side in (like, unlike))
    meaning = None
    if kinds is not None:
        none = torch.empty(0, len(kinds.texts) - 1)
        shares = (torch.stack([one.kinds for one in side]) if side else none for side in (like, unlike))
        meaning = Meaning(kinds, *shares)
    return Shown(accepted, refused, level, meaning)


def check_example(name: str, class_name: str, placed: bool, unusual: float) -> None:
    """Refuse an image that says nothing, or nothing about the class.

    Args:
        placed: whether a box or mask says where what is meant lies.
        unusual: the share of the image that no good image shows.

    Raises:
        NandError: naming the image.
    """
    if not placed and not unusual:
        raise NandError(
            f"{name}: shows nothing that the good images of {class_name!r} do not; "
            "say where to look with --box or --mask, or leave it out"
        )
    if not placed and unusual > UNLIKE_GOOD:
        raise NandError(
            f"{name}: {100 * unusual:.0f} % of it looks like nothing in the good images of {class_name!r}; "
            "is it one of this class, taken as they are? If so, say what is meant with --box or --mask"
        )


def boxed(name: str, box: tuple[int, int, int, int], size: tuple[int, int]) -> NDArray[np.bool_]:
    """A box (x, y, width, height) as a mask of an image of ``size`` (width, height).

    Raises:
        NandError: it leaves the image, or is empty.
    """
    x, y, width, height = box
    if min(x, y) < 0 or x + width > size[0] or y + height > size[1]:
        raise NandError(f"{name}: the box {x},{y},{width},{height} leaves the image ({size[0]} x {size[1]} pixels)")
    if min(width, height) < 1:
        raise NandError(f"{name}: the box {x},{y},{width},{height} is empty; it is x, y, width and height in pixels")
    inside = np.zeros((size[1], size[0]), bool)
    inside[y : y + height, x : x + width] = True
    return inside


def coreset(patches: Tensor, most: int, seed: int) -> Tensor:
    """At most ``most`` of the patches (n, C), each the farthest from those chosen before."""
    if len(patches) <= most:
        return patches
    start = int(torch.randint(len(patches), (1,), generator=torch.Generator().manual_seed(seed)))
    return patches[greedy_coreset(patches, most, start_from_point(len(patches), start, patches.device))]


def example_map(
    vectors: Tensor, distances: Tensor, shown: Shown, settings: ExampleSettings, means: Tensor | None = None
) -> Tensor:
    """A_sup at every patch: (N, h, w) in [0, 1].

    Args:
        vectors: (N, h, w, C).
        distances: (N, h, w) of them to the nearest good patch.
        means: (N, h, w, 1 + K) what they mean, where that counts.

    Where a patch is nearer to the examples that are *not* fine than to those that are, nothing is suppressed, and
    without examples that are fine nowhere.
    """
    if not len(shown.like):
        return torch.zeros_like(distances)
    flat, shape = vectors.flatten(0, 2), vectors.shape[:3]
    reference = distances
    if len(shown.unlike):
        reference = torch.minimum(reference, nearest_distances(flat, shown.unlike).view(shape))
    like = nearest_distances(flat, shown.like).view(shape)
    found = 1 - like / reference.clamp(min=torch.finfo(like.dtype).tiny)
    found = ((found - settings.none) / (settings.whole - settings.none)).clamp(0, 1)
    wide = F.max_pool2d(found[:, None], settings.widen, 1, settings.widen // 2)[:, 0]
    if settings.regions:
        wide = torch.maximum(wide, region_means(found, (distances - shown.level).clamp(min=0)))
    if settings.meaning is not None and shown.meaning is not None and means is not None:
        wide = meant(wide, means, shown.meaning, settings.meaning)
    return wide * kept_share(vectors, distances, shown)


def region_means(values: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean of ``values`` over each connected region (8 neighbours) of ``weights`` > 0; 0 elsewhere.

    Args:
        values, weights: (N, h, w), weights >= 0.
    """
    inside, of, count = regions(weights, 0.0)
    total = sums(values_at(weights, inside), of, count)
    means = quotient(sums(values_at(values * weights, inside), of, count), total, total > 0, 0.0)
    return replaced(torch.zeros_like(values), inside, taken(means, of))


def kept_share(vectors: Tensor, distances: Tensor, shown: Shown) -> Tensor | float:
    """What a suppression keeps beside the examples that are not fine: (N, h, w) in [0, 1], 0 at one of them."""
    if not len(shown.unlike):
        return 1.0
    unlike = nearest_distances(vectors.flatten(0, 2), shown.unlike).view(vectors.shape[:3])
    return (unlike / distances.clamp(min=torch.finfo(unlike.dtype).tiny)).clamp(0, 1)


def nearest_distances(points: Tensor, bank: Tensor) -> Tensor:
    """(n,) L2 distances of the points (n, C) to the nearest row of the bank (m, C)."""
    return nearest_neighbours(points, bank.to(points.device))[0]


def enlarged(maps: Tensor) -> Tensor:
    """Patch maps (N, h, w) -> (N, 256, 256), bilinear."""
    return F.interpolate(maps[:, None], size=(MAP_SIZE, MAP_SIZE), mode="bilinear", align_corners=False)[:, 0]
