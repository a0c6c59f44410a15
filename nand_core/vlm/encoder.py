"""The vision-language model: encode an image once, ask about it many times.

An open_clip model gives patch tokens after chosen blocks; one linear layer for each brings them into the space
of the texts (APRIL-GAN, arXiv 2305.17382). Named models, JSON configs and the embedded model take the same way.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Self, cast

import open_clip
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from nand_core.errors import NandError
from nand_core.view import View
from nand_core.vlm.blocks import block_widths
from nand_core.vlm.build import Model, build_model, load_linear, load_weights
from nand_core.vlm.convnet import PairedTower, build_convolutional
from nand_core.vlm.device import pick_device
from nand_core.vlm.features import ImageFeatures
from nand_core.vlm.heads import load_adapted, load_heads
from nand_core.vlm.pixels import standardised
from nand_core.vlm.settings import EncoderSettings
from nand_core.vlm.sources import model_config, weight_files
from nand_core.vlm.tokenizers import load_tokenizer, unknown_words

POOLED = 4
"""Of a tower without a projection every n-th patch in both directions is averaged: all would cost half a forward."""
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class VLM:
    """Image and text towers with their linear layers.

    Attributes:
        image_size: side of the square input in pixels.
        layers: 1-based numbers of the blocks used.
        widths: C_l of each block that texts are asked of: these, or those of the tower beside.
        embed_dim: E, the width of the joint space.
        logit_scale: factor on the cosines before the softmax.
        device: where the towers run.
        model: the open_clip model, in evaluation mode.
    """

    def __init__(
        self,
        model: Model,
        tokenizer: Callable[[list[str]], Tensor],
        linear: nn.ModuleList | None,
        *,
        image_size: int,
        layers: tuple[int, ...],
        widths: Sequence[int],
        asked: Sequence[int],
        embed_dim: int,
        logit_scale: float,
        mean: Sequence[float],
        std: Sequence[float],
        device: torch.device,
        dtype: torch.dtype,
        batch_size: int,
    ) -> None:
        self.model = model.to(device).eval().requires_grad_(False)
        self._linear = linear if linear is None else linear.to(device).eval().requires_grad_(False)
        self._shared = self._linear
        self._pooling = self._linear[-1] if self._linear else None
        self._tokenizer = tokenizer
        self.image_size = image_size
        self.layers = layers
        self.widths = tuple(asked)
        self.embed_dim = embed_dim
        self.logit_scale = logit_scale
        self.device = device
        self.batch_size = batch_size
        self._dtype = dtype
        # The last block is always asked for: open_clip's ResNet stops at the last one asked for, and what it
        # pools would be the wrong one. It is dropped again where it was not chosen.
        self._indices = [*(layer - 1 for layer in layers), len(widths) - 1]
        self._mean = torch.tensor(mean).view(3, 1, 1)
        self._std = torch.tensor(std).view(3, 1, 1)

    @property
    def linear(self) -> tuple[nn.Module, ...]:
        """What brings the patch tokens (..., C_l) of a chosen block to (..., E): an ``nn.Linear`` or a head each.

        Raises:
            NandError: the encoder was loaded without.
        """
        if self._linear is None:
            raise NandError(
                "encoder.linear_layers: not set, but normality detection needs an APRIL-GAN checkpoint;"
                " without one, set encoder.adapt: heads are learned from drawn defects"
            )
        return tuple(self._linear)

    def adapted(self, heads: Path) -> Self:
        """The encoder with a class's heads from a file; the encodings of images and texts stay as they are.

        Raises:
            NandError: the file holds no heads for this encoder.
        """
        other = copy.copy(self)
        other._linear = load_adapted(heads, self._shared, self.widths, self.embed_dim).to(self.device)
        return other

    @property
    def tokenizer(self) -> Callable[[list[str]], Tensor]:
        """Of the text tower."""
        return self._tokenizer

    def autocast(self) -> AbstractContextManager[object]:
        """The precision in which the towers run."""
        return nullcontext() if self._dtype == torch.float32 else torch.autocast(self.device.type, self._dtype)

    @property
    def view(self) -> View:
        """What it sees of an image: all, without keeping the aspect."""
        return View(self.image_size, "bicubic")

    def preprocess(self, image: Image.Image | Tensor) -> Tensor:
        """An RGB image, or the pixels (S, S, 3) uint8 of its ``view`` -> (3, S, S) float32 by mean and std."""
        return standardised(self.view, image, self._mean, self._std)

    @torch.no_grad()
    def encode_images(self, pixels: Tensor) -> ImageFeatures:
        """(N, 3, S, S) preprocessed images -> their features, on the encoder's device."""
        parts = [self._encode_batch(part.to(self.device)) for part in torch.split(pixels, self.batch_size)]
        layers, beside = (
            tuple(torch.cat(blocks) for blocks in zip(*tokens, strict=True))
            for tokens in ([part.layers for part in parts], [part.beside for part in parts])
        )
        return ImageFeatures(layers, torch.cat([part.pooled for part in parts]), beside)

    def _encode_batch(self, pixels: Tensor) -> ImageFeatures:
        with self.autocast():
            out = self.model.visual.forward_intermediates(pixels, indices=self._indices, output_fmt="NCHW")
        blocks = tuple(block.float() for block in out["image_intermediates"][: len(self.layers)])
        whole = out.get("image_features")
        if whole is None:  # a tower without a projection of its own: what its patches say on average
            head = cast(nn.Module, self._pooling)  # such a tower comes with one
            said = head(blocks[-1].movedim(1, -1), every=POOLED)
            whole = F.normalize(said, dim=-1).mean(dim=(1, 2))
        beside = tuple(block.float() for block in out.get("beside_intermediates", ()))
        return ImageFeatures(blocks, F.normalize(whole.float(), dim=-1), beside)

    @torch.no_grad()
    def encode_text(self, sentences: Sequence[str], normalize: bool = True) -> Tensor:
        """n sentences -> (n, E) float32, unit vectors unless ``normalize`` is off."""
        tokens = self._tokenizer(list(sentences))
        with self.autocast():
            parts = [self.model.encode_text(part.to(self.device)).float() for part in torch.split(tokens, 256)]
        embeddings = torch.cat(parts)
        return F.normalize(embeddings, dim=-1) if normalize else embeddings

    def unknown_words(self, text: str) -> list[str]:
        """The words that the tokenizer does not know; none for byte-pair tokenizers, which know all."""
        return unknown_words(self._tokenizer, text)


def load_vlm(settings: EncoderSettings, digests: Mapping[str, str] = MappingProxyType({})) -> VLM:
    """Build the encoder from its files.

    Args:
        digests: what :func:`nand_core.vlm.sources.encoder_digest` gave: the files are those still.

    Raises:
        NandError: a file is missing, has another sha256, is no plain weights file, or does not fit the model;
            or the device is not there.
    """
    device = pick_device(settings.device)
    found = weight_files(settings, download=True)
    files = {file.key: replace(file, hashed=digests.get(file.key)) for file in found}
    for file in files.values():
        file.located()
    config = model_config(settings, files.get("config"))
    size = settings.image_size or config["vision_cfg"]["image_size"]
    preprocess = config.get("preprocess_cfg") or {}
    convolutional = "network" in config["vision_cfg"]
    model = build_convolutional(config, files) if convolutional else build_model(config, size)
    widths = block_widths(model.visual, size)
    layers = settings.layers or tuple(config.get("layers") or (len(widths) * q // 4 for q in (1, 2, 3, 4)))
    if layers[-1] > len(widths):
        raise NandError(f"encoder.layers: {layers[-1]} asked for, {settings.model} has {len(widths)} blocks")
    paired = model.visual if isinstance(model.visual, PairedTower) else None
    asked = paired.widths if paired else [widths[layer - 1] for layer in layers]
    if not convolutional:
        load_weights(model, files["pretrained"].located(), file=files["pretrained"].read())
    linear = None
    if "linear_layers" in files:
        file, load = files["linear_layers"], load_heads if convolutional and not paired else load_linear
        linear = load(file.located(), asked, config["embed_dim"], file.read())
    return VLM(
        model,
        load_tokenizer(settings, files.values()),
        linear,
        image_size=size,
        layers=layers,
        widths=widths,
        asked=asked,
        embed_dim=config["embed_dim"],
        logit_scale=settings.logit_scale or config.get("logit_scale") or 100.0,
        mean=preprocess.get("mean") or open_clip.OPENAI_DATASET_MEAN,
        std=preprocess.get("std") or open_clip.OPENAI_DATASET_STD,
        device=device,
        dtype=_dtype(settings.precision, device),
        batch_size=settings.batch_size,
    )


def _dtype(precision: str, device: torch.device) -> torch.dtype:
    if precision == "auto":
        precision = "fp32" if device.type == "cpu" else "bf16"
    return DTYPES[precision]
