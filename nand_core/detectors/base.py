"""What the pipeline and a detector know of each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch
from PIL import Image
from torch import Tensor

from nand_core.errors import NandError
from nand_core.vlm.features import ImageFeatures

if TYPE_CHECKING:
    from nand_core.vlm.encoder import VLM


class ImageBatch(Protocol):
    """A few images, decoded or encoded when asked for."""

    ids: Sequence[str]

    def images(self) -> list[Image.Image]:
        """The RGB images."""

    def features(self) -> ImageFeatures:
        """Their encoding by the shared encoder."""


@dataclass(frozen=True)
class Context:
    """What a detector for one class may use.

    Attributes:
        class_name: the class, as the manifest writes it.
        vlm: the encoder, loaded on first use.
        text: the class's normal and abnormal text features, each (E,); empty unless the detector needs ``text``.
        files: the sha256 of the files that the detector reads itself, as ``nand_core.detectors.build.detector_digest``
            gave them for the key of its maps: a file with another content is refused. Empty where there is no key.
    """

    class_name: str
    vlm: Callable[[], VLM]
    text: Callable[[], tuple[Tensor, ...]]
    files: Mapping[str, str] = field(default_factory=dict)


class Detector(Protocol):
    """Gives anomaly maps for the images of one class.

    Attributes:
        needs: what it takes from outside: any of ``features``, ``text``, ``vlm``, and ``heads`` where it asks the
            encoder's heads, which can be the class's own.
        trained: False if it works without ``fit`` and has no state.

    One that can be exported has ``view()`` besides: what it sees of ``images()``, whose pixels (S, S, 3) uint8 it takes
    in their place; None where it asks for none (``nand export``).
    """

    needs: frozenset[str]
    trained: bool

    def fit(self, good: Iterable[ImageBatch]) -> None:
        """Learn from the class's good training images."""

    def state(self) -> dict[str, Tensor]:
        """What ``fit`` learned, storable as safetensors."""

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take a stored state instead of ``fit``."""

    def maps(self, batch: ImageBatch) -> Tensor:
        """(n, H, W) float32 on CPU, >= 0, in the frame of the whole image."""


class Untrained:
    """The part of a detector that has nothing to learn."""

    trained = False

    def fit(self, good: Iterable[ImageBatch]) -> None:
        """Nothing to learn."""

    def state(self) -> dict[str, Tensor]:
        """Empty."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Accepts the empty state only."""
        check_state(state, {})


def check_state(state: Mapping[str, Tensor], expected: Mapping[str, tuple[int | None, ...]]) -> None:
    """Refuse a stored state whose tensors differ in name or shape; None in a shape stands for any length.

    Raises:
        NandError: naming the first tensor that does not fit.
    """
    if state.keys() != expected.keys():
        raise NandError(
            f"detector state: holds {sorted(state) or 'nothing'}, expected {sorted(expected) or 'nothing'}; "
            "it was stored by another detector or other settings, run the stage again"
        )
    for name, shape in expected.items():
        found = tuple(state[name].shape)
        if len(found) != len(shape) or any(
            want not in (None, have) for want, have in zip(shape, found, strict=True)
        ):
            wanted = tuple("any" if length is None else length for length in shape)
            raise NandError(
                f"detector state: {name} has shape {found}, expected {wanted}; "
                "it was stored with other settings, run the stage again"
            )


def check_maps(maps: Tensor, ids: Sequence[str], detector: str) -> Tensor:
    """A detector's maps of the images ``ids`` as float32 on CPU, refused where Eq. 6 would be meaningless.

    Raises:
        NandError: not one two-dimensional map an image, or one that is not finite, or below zero (suppression
            would amplify); names the image.
    """
    if torch.compiler.is_exporting():
        return maps
    maps = maps.detach().to("cpu", torch.float32)
    if maps.ndim != 3 or len(maps) != len(ids):
        raise NandError(
            f"{detector}: gave maps of shape {tuple(maps.shape)} for {len(ids)} images; expected (n, H, W)"
        )
    for image_id, one in zip(ids, maps, strict=True):
        if not one.isfinite().all():
            raise NandError(
                f"{detector}: the map of {image_id} is not finite; check the detector's input and weights"
            )
        if one.numel() and one.min() < 0:
            raise NandError(
                f"{detector}: the map of {image_id} has {one.min().item():.4g}, below 0; "
                "suppression multiplies the map, so shift it with an offset that is the same for every image"
            )
    return maps


class Checked:
    """A detector under the name that the settings give it, its maps refused where Eq. 6 would be meaningless."""

    def __init__(self, name: str, detector: Detector) -> None:
        self._name = name
        self._detector = detector

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._detector, attribute)

    def maps(self, batch: ImageBatch) -> Tensor:
        """(n, H, W) float32 on CPU, finite and >= 0."""
        return check_maps(self._detector.maps(batch), batch.ids, self._name)
