"""An encoding as an item keeps it: what is read back is what the encoder gave."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from nand_core.artifacts.store import Store, sha256_file
from nand_core.config import Params
from nand_core.tiles import Grid
from nand_core.vlm.encoder import load_vlm
from nand_core.vlm.settings import EncoderSettings, TileSettings
from tasks.encoder import encoder_key
from tasks.image_features import EncodeSpec, image_features, read_features
from tasks.work import Work

PAIR = EncoderSettings(model="efficientnet_lite0+embedded", device="cpu")
TILES = TileSettings(size=96, overlap=16)


@pytest.mark.parametrize("tiles", [None, TILES], ids=["whole", "in tiles"])
def test_both_towers_of_a_pair_come_back(tiles, tmp_path):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 250, 3), dtype=np.uint8))
    picture.save(tmp_path / "one.png")
    params = {"dataset": {"root": "unused"}, "encoder": PAIR.model_dump(), "detectors": {"a": {"kind": "april_gan"}}}
    work = Work(Params.model_validate(params), tmp_path, Store(root=tmp_path / "store"))
    content = (sha256_file(tmp_path / "one.png"),)
    spec = EncodeSpec(images=content, paths=("one.png",), encoder=encoder_key(PAIR), tiles=tiles)
    record = image_features(spec, work)
    found = read_features(work.store.path(record), None if tiles is None else 0)
    pair, parts = load_vlm(PAIR), [picture] if tiles is None else next(Grid.of(picture.size, tiles).crops(picture))
    wanted = pair.encode_images(torch.stack([pair.preprocess(one) for one in parts]))
    assert len(found.layers) == 1 and len(found.beside) == 3
    for one, two in zip((*found.layers, *found.asked), (*wanted.layers, *wanted.beside), strict=True):
        assert torch.equal(one, two)
    assert torch.equal(found.pooled, wanted.pooled)
