"""NAND as a library: a class's normalities, and what they do to any detector's maps.

The model is Segment Anything's predictor: images are encoded once (the expensive half) and asked about texts as often
as wanted (milliseconds). With the settings of a params file the numbers are the pipeline's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from nand.examples import Seen, good_patches, read_examples, shown, stored_example
from nand.images import Encoded, encode, listed
from nand.result import Result
from nand_core.adaptation.targets import defect_kinds
from nand_core.asked import ClaimCanvas, Held, Vector, ask, claims, competing, competitors
from nand_core.config import load_params
from nand_core.datasets.manifest import deep_bits, scan
from nand_core.decision import Claim, final_maps
from nand_core.detectors.base import check_maps
from nand_core.errors import NandError, nearest
from nand_core.examples import Good
from nand_core.meaning import Kinds
from nand_core.normalities import known_groups, resolve
from nand_core.normality import image_score, resize_maps, text_feature, union
from nand_core.prompts import settings as stored
from nand_core.prompts.clean import checked_phrase
from nand_core.prompts.provide import competitor_phrases, make_prompts, with_phrases
from nand_core.prompts.settings import Added, PromptSettings
from nand_core.prompts.templates import normal_sentences, sentences
from nand_core.settings import MAP_SIZE, ExampleSettings, RegionSettings, Rule, SuppressionSettings
from nand_core.understanding import check_understood, spoken
from nand_core.vlm.encoder import VLM, load_vlm
from nand_core.vlm.settings import EncoderSettings, TileSettings

if TYPE_CHECKING:
    from nand.examples import Example
    from nand.images import Picture


@dataclass(frozen=True)
class Text:
    """A text that counts as normal, examples of that name, or both.

    Attributes:
        text: in its cleaned form, or the name of the labelled group that it is.
        phrases: that describe it to the encoder; none where examples alone do.
        provider: where the phrases come from: explicit, curated, openai or rules; "" where there are none.
        unknown_words: words of the phrases, and of names that it was set against, that the text encoder has never seen.
        like, unlike: how many images show it, and how many what it is not.
    """

    text: str
    phrases: tuple[str, ...]
    provider: str
    unknown_words: tuple[str, ...] = ()
    like: int = 0
    unlike: int = 0


class Normality:
    """What counts as normal for one class of images, told by text or shown by examples.

    Parameters
    ----------
    class_name : str
        What is seen in the images, as a word of a sentence: ``"carpet"``, ``"metal_nut"``.
    encoder : EncoderSettings or VLM
        Which encoder to use, or one that is loaded already: several objects can share it.
    suppression : SuppressionSettings
        How a suppression map is made. The defaults are those of the shipped params file.
    prompts : PromptSettings
        Where phrases come from.
    groups : sequence of str, optional
        Names of the class's known kinds of defect: what a text competes with unless ``add`` is told otherwise.
    alpha : float
        Strength of the suppression, 0 to 1.
    regions : RegionSettings, optional
        How unusual regions are judged as a whole, where :meth:`apply` is told the good images' level; None: Eq. 6.
    heads : str or Path, optional
        The class's own heads, as the adaptation stage writes them (``artifacts/heads/<class>.safetensors``).
    good : sequence of images, or Encoded, optional
        Good images of the class, two or more: what examples are compared with. Encoded when the first are added.
    examples : ExampleSettings
        How examples become a suppression map.
    bits : int, optional
        That the camera has whose values lie in 16-bit files: 8 to 16. Without it files that seem to have fewer than 16
        are refused.
    tiles : TileSettings, optional
        How large images are cut; by default as the encoder's settings say.

    Examples
    --------
    >>> normality = Normality("carpet")                                           # doctest: +SKIP
    >>> normality.add("loose fibre", against=["hole", "metal"])                   # doctest: +SKIP
    >>> result = normality.apply(images, maps)                                    # doctest: +SKIP
    """

    def __init__(
        self,
        class_name: str,
        encoder: EncoderSettings | VLM | None = None,
        *,
        suppression: SuppressionSettings | None = None,
        prompts: PromptSettings | None = None,
        groups: Sequence[str] = (),
        alpha: float = 1.0,
        regions: RegionSettings | None = RegionSettings(),  # noqa: B008 - frozen
        heads: str | Path | None = None,
        good: Iterable[Picture] | Encoded | None = None,
        examples: ExampleSettings | None = None,
        bits: int | None = None,
        tiles: TileSettings | None = None,
    ) -> None:
        if not 0 <= alpha <= 1:
            raise NandError(f"alpha: {alpha} is no strength of a suppression; give 0 to 1")
        if bits is not None and not 8 <= bits <= 16:
            raise NandError(f"bits: {bits} are no bits of a camera whose values lie in 16-bit files; give 8 to 16")
        self.class_name = class_name
        self.bits = bits
        self.encoder = encoder or EncoderSettings()
        if heads is None and isinstance(self.encoder, EncoderSettings) and self.encoder.by_class:
            raise NandError("encoder.adapt, encoder.centre: the class's heads are needed; a run of the pipeline leaves"
                            " heads='artifacts/heads/<class>.safetensors', and from_params finds them")  # fmt: skip
        self.tiles = tiles if isinstance(self.encoder, VLM) else tiles or self.encoder.tiles
        self.suppression = suppression or SuppressionSettings()
        self.prompts = prompts or PromptSettings()
        self.groups = _names(groups, "groups")
        self.alpha = alpha
        self.regions = regions
        self.heads = None if heads is None else Path(heads)
        self.good = good if good is None or isinstance(good, Encoded) else listed(good, "good")
        self.examples = examples or ExampleSettings()
        self._held: dict[str, tuple[Text, Held]] = {}
        self._known: dict[str, Vector] = {}

    @classmethod
    def from_params(cls, path: str | Path = "params.yaml", class_name: str | None = None) -> Self:
        """With a params file's settings, its data set's known groups and good images, and what is normal there already.

        Args:
            path: of the file; relative paths in it count from its folder.
            class_name: can be left out where the data set has one class.

        Raises
        ------
        NandError
            When the file, its data set or an example cannot be read, or there is no such class.
        """
        path = Path(path)
        params = load_params(path)
        root = path.parent / params.dataset.root
        manifest = scan(params.dataset, root)
        groups = known_groups(manifest)
        if class_name is None and len(groups) > 1:
            raise NandError(f"{path}: which class? name one: Normality.from_params(..., class_name='carpet'), "
                            f"of {', '.join(groups)}")  # fmt: skip
        name = class_name or next(iter(groups))
        if name not in groups:
            raise NandError(f"{path}: unknown class {name!r}{nearest(name, groups)}")
        heads = None
        if params.encoder.by_class:
            heads = path.parent / "artifacts" / "heads" / f"{name}.safetensors"
            if not heads.is_file():
                raise NandError(f"{heads}: not there, but {path} has encoder.adapt or encoder.centre;"
                                " run the pipeline: nand repro")  # fmt: skip
        good = manifest.loc[(manifest["class"] == name) & (manifest["split"] == "train"), "path"]
        made = cls(
            name,
            params.encoder.anchored(path.parent),
            suppression=SuppressionSettings(**params.suppression.model_dump(exclude={"examples"})),
            prompts=params.prompts,
            groups=groups[name],
            alpha=params.evaluation.alpha,
            regions=params.evaluation.regions,
            heads=heads,
            good=[root / image for image in good] if len(good) else None,
            examples=params.suppression.examples,
            bits=_recorded_bits(path.parent) or params.dataset.bits,
        )
        folder = path.parent / "artifacts" / "examples" / name
        for entry in params.prompts.normalities.get(name, ()):
            like, unlike = (
                read_examples([stored_example(folder, one) for one in found], side, made.bits)
                for side, found in (("like", entry.like), ("unlike", entry.unlike))
            )
            made._add(entry, like, unlike)
        return made

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.class_name!r}, texts={[text.text for text in self.texts]})"

    @cached_property
    def vlm(self) -> VLM:
        """The encoder, loaded on first use, with the class's own heads if it has any."""
        vlm = self.encoder if isinstance(self.encoder, VLM) else load_vlm(self.encoder)
        return vlm if self.heads is None else vlm.adapted(self.heads)

    @property
    def texts(self) -> tuple[Text, ...]:
        """What is normal beside the good images, in the order in which it was added."""
        return tuple(text for text, _ in self._held.values())

    def add(
        self,
        text: str,
        *,
        phrases: Sequence[str] = (),
        against: Sequence[str] | None = None,
        like: Iterable[Picture | Example] = (),
        unlike: Iterable[Picture | Example] = (),
        ask: bool = False,
        force: bool = False,
        strength: float = 1.0,
    ) -> Text:
        """Make a text, or what images show, normal from now on.

        Args:
            text: such as ``"loose fibre"``. With ``like`` and neither ``phrases`` nor ``ask`` it is a name alone: the
                text encoder is not asked.
            phrases: that say it, in place of generated ones.
            against: names of other defects, which compete with it: where an image shows one of them rather than the
                text, nothing is suppressed. By default ``groups``; ``[]`` for none.
            like: images that show it, as :meth:`encode` takes them or as :class:`nand.Example`.
            unlike: images that look like it and have to keep raising an alarm.
            ask: ask the text encoder about the text as well as about ``like``.
            force: ask it even if it knows no word of the text.
            strength: how far what it claims falls to the good level, over 0 to 1.

        Raises
        ------
        NandError
            When the text is normal already, no phrases can be made of it, the text encoder knows no word of it, or an
            example cannot be used. Then nothing has changed.
        """
        where = f"normality of {self.class_name}"
        if not 0 < strength <= 1:
            raise NandError(f"{where}: strength {strength}: give more than 0 and at most 1")
        shows, shows_not = read_examples(like, "like", self.bits), read_examples(unlike, "unlike", self.bits)
        digests = [one.digest for one in (*shows, *shows_not)]
        for position, one in enumerate((*shows, *shows_not)):
            if digests[position] in digests[:position]:
                raise NandError(f"{where}: {one.name} is there twice, by content; leave one out")
        if len(digests) > self.examples.images:
            raise NandError(f"{where}: {len(digests)} examples, at most {self.examples.images} (examples.images)")
        named = [stored.Example(image=f"{digest[:16]}.png") for digest in digests]
        entry = Added(
            text=checked_phrase(text, where),
            phrases=tuple(dict.fromkeys(checked_phrase(one, where) for one in _names(phrases, "phrases"))),
            like=tuple(named[: len(shows)]),
            unlike=tuple(named[len(shows) :]),
            ask=ask,
            force=force,
            strength=strength,
        )
        return self._add(entry, shows, shows_not, against, text)

    def _add(
        self,
        entry: Added,
        like: Sequence[Seen],
        unlike: Sequence[Seen],
        against: Sequence[str] | None = None,
        written: str = "",
    ) -> Text:
        where = f"normality of {self.class_name}"
        others = self.groups if against is None else _names(against, "against")
        if against is not None and not entry.asked:
            raise NandError(f"{where}: nothing competes with examples alone; leave against out, or give ask=True")
        made = resolve(self.class_name, entry, {*self.groups, *others})
        if made.text in self._held:
            raise NandError(f"{where}: {made.text!r} is normal already; remove it to change it")
        shows = None
        if like or unlike:
            good = self._good
            how = good, self.examples
            shows = shown(self.vlm, self.class_name, like, unlike, *how, tiles=self.tiles, kinds=self._kinds)
        held = Held(made.text, shown=shows, strength=made.strength)
        text = Text(made.text, (), "", (), len(like), len(unlike))
        if entry.asked:
            settings = with_phrases(self.prompts, self.class_name, made.text, made.phrases)
            prompt = make_prompts(self.class_name, made.text, settings, now=datetime.now(UTC))
            if not entry.force:
                check_understood(self.vlm.tokenizer, prompt.model_dump(by_alias=True), where, "force=True", written)
            known = {name: self._competitor(name) for name in others}
            f_add = self._feature(sentences(prompt.phrases))
            asked = self._normal, known, self.suppression
            rivals = competitors(f_add, *asked, group=made.group, apart=made.apart)
            held = replace(
                held,
                asked=ask(made.text, f_add, *asked, group=made.group, apart=made.apart),
                rivals=tuple(competing(self._normal, known, tuple(rivals), self.suppression).values()),
            )
            said = " ".join([*spoken(prompt.model_dump()), *(against or ())])
            unknown = tuple(dict.fromkeys(self.vlm.unknown_words(said)))
            text = replace(text, phrases=prompt.phrases, provider=prompt.provider, unknown_words=unknown)
        self._held[made.text] = text, held
        return text

    def remove(self, text: str) -> None:
        """Take a text back.

        Raises
        ------
        NandError
            When it is not among the texts.
        """
        entry = Added(text=checked_phrase(text, f"normality of {self.class_name}"))
        name = resolve(self.class_name, entry, {*self.groups, *self._held}).text
        if name not in self._held:
            raise NandError(f"{self.class_name}: {text!r} is not among its texts{nearest(name, self._held)}")
        del self._held[name]

    def encode(self, images: Iterable[Picture]) -> Encoded:
        """The expensive half, to be done once: :meth:`apply` takes its result in place of the images.

        Args:
            images: paths, PIL images or uint8 arrays, (H, W) or (H, W, 3).
        """
        return encode(self.vlm, images, self.bits, self.tiles)

    def apply(
        self, images: Iterable[Picture] | Encoded, maps: ArrayLike | Tensor, *, level: float | None = None
    ) -> Result:
        """Suppress in a detector's anomaly maps what is normal now (Eqs. 4 and 6).

        Args:
            images: n images, or what :meth:`encode` made of them.
            maps: the detector's maps of the whole images, (n, H, W) finite numbers >= 0. Maps of another size are
                brought to 256 x 256 (bilinear), as the pipeline does.
            level: the good level, the median of good images' scores by the same detector: unusual regions are judged
                as a whole, and fall to that level. Without it every pixel is taken by itself (Eq. 6).

        Raises
        ------
        NandError
            Naming the image whose map or pixels cannot be used.
        """
        encoded = images if isinstance(images, Encoded) else self.encode(images)
        self._own(encoded, "images")
        anomaly = resize_maps(check_maps(_tensor(maps), encoded.names, "maps"))
        suppression = torch.zeros(len(encoded), MAP_SIZE, MAP_SIZE)
        adapted, rule = anomaly.clone(), Rule(alpha=self.alpha, regions=self.regions, level=level)
        held = self._claiming(rule)
        start, good = 0, self._good if any(one.shown for one in held) else None
        if held:
            for found in self._claimed(encoded, held, good):
                part = slice(start, start := start + len(found[0].suppression))
                suppression[part] = union([one.suppression for one in found])
                adapted[part] = final_maps(anomaly[part], found, rule)
        return Result(
            anomaly=anomaly.numpy(),
            suppression=suppression.numpy(),
            maps=adapted.numpy(),
            scores_before=image_score(anomaly).double().numpy(),
            scores_after=image_score(adapted).double().numpy(),
            unknown_words={text.text: text.unknown_words for text in self.texts if text.unknown_words},
            encoded=encoded,
        )

    def _claimed(self, encoded: Encoded, held: Sequence[Held], good: Good | None) -> Iterator[list[Claim]]:
        """What is seen of the normalities in the images, a few at a time."""
        parts = (
            claims(self.vlm, features, held, good, self.suppression, self.examples) for features in encoded.batches
        )
        if not encoded.grids:
            yield from parts
        for grid in encoded.grids:
            canvas = ClaimCanvas(grid)
            for found in islice(parts, grid.parts):
                canvas.add(found)
            yield canvas.claims

    def _claiming(self, rule: Rule) -> list[Held]:
        """What is normal now: none of it is a rival of the rest, and without regions there are no rivals."""
        return [
            replace(one, rivals=tuple(r for r in one.rivals if rule.regional and r.text not in self._held))
            for _, one in self._held.values()
        ]

    @cached_property
    def _good(self) -> Good:
        if self.good is None:
            raise NandError(
                f"normality of {self.class_name}: examples are compared with good images; "
                f"give some: Normality({self.class_name!r}, good=[...])"
            )
        if isinstance(self.good, Encoded):
            self._own(self.good, "good")
        return good_patches(self.vlm, self.good, self.examples, self.bits, self.tiles)

    @cached_property
    def _kinds(self) -> Kinds | None:
        """Of defect, as the encoder calls them; None where what patches mean does not count."""
        if self.examples.meaning is None:
            return None
        return Kinds(defect_kinds(self.vlm, self.class_name), self.suppression.deepest)

    def _own(self, encoded: Encoded, where: str) -> None:
        """Refuse what another encoder saw."""
        if encoded.encoder.model is not self.vlm.model:
            raise NandError(f"{where}: encoded by another encoder; encode them with this object, or share the encoder")

    @cached_property
    def _normal(self) -> Vector:
        return self._feature(normal_sentences(self.class_name))

    def _competitor(self, name: str) -> Vector:
        if name not in self._known:
            self._known[name] = self._feature(sentences(competitor_phrases(self.class_name, name)))
        return self._known[name]

    def _feature(self, said: Sequence[str]) -> Vector:
        """Eq. 3, as a tuple: it is stored as float32 and so loses nothing."""
        return tuple(text_feature(self.vlm.encode_text(said)).cpu().numpy().astype(np.float32).tolist())


def _recorded_bits(folder: Path) -> int | None:
    """Of the project's data set, as its manifest has them; None before a first run, and without 16-bit images."""
    manifest = folder / "artifacts" / "manifest.parquet"
    return deep_bits(pd.read_parquet(manifest)) if manifest.is_file() else None


def _tensor(maps: ArrayLike | Tensor) -> Tensor:
    """Any real numbers as a tensor; what is none is refused."""
    if not isinstance(maps, Tensor):
        try:
            array = np.asarray(maps)
        except ValueError as error:  # of several shapes
            raise NandError(f"maps: not an array of numbers of one shape (n, H, W) ({error})") from error
        if array.dtype.kind not in "fiub":
            raise NandError(f"maps: {array.dtype} {array.shape} is not an array of numbers; give (n, H, W), >= 0")
        maps = torch.from_numpy(array.astype(np.float32))
    if maps.is_complex() or not maps.numel():
        raise NandError(f"maps: {maps.dtype} {tuple(maps.shape)}: not an array of numbers, or no pixels in it")
    return maps


def _names(given: Sequence[str], where: str) -> tuple[str, ...]:
    """Of a list; a text in its place would be taken for its letters."""
    if isinstance(given, str):
        raise NandError(f"{where}: a list of texts expected; write [{given!r}]")
    return tuple(given)
