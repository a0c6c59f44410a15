"""``python -m benchmarks.encode``: images a second of NAND's own encoders, beside the bare forward of timm.

In turn, batch by batch, on the CPU: what is seen of other work on the machine is seen by all. The bare forward is
timm's ``features_only`` model of the same blocks with the same weights, on the same pixels, as it comes and with its
channels last in memory; that its features are the encoder's is checked first.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import timm
import torch

from nand_core.report.tables import markdown_table
from nand_core.vlm.convnet import ConvTower
from nand_core.vlm.encoder import VLM, load_vlm
from nand_core.vlm.settings import EncoderSettings


def bare(vlm: VLM) -> torch.nn.Module:
    """timm's own model of the encoder's blocks, with its weights."""
    tower = vlm.model.visual
    assert isinstance(tower, ConvTower)
    made = timm.create_model(
        "tf_efficientnet_lite0", features_only=True, pretrained=False, out_indices=(0, 1, 2, 3, 4)
    ).eval()
    own = {**{f"stem.{name}": value for name, value in tower.stem.state_dict().items()},
           **{f"blocks.{name}": value for name, value in tower.blocks.state_dict().items()}}  # fmt: skip
    names = list(made.state_dict())[: len(own)]
    made.load_state_dict(dict(zip(names, own.values(), strict=True)), strict=False)
    return made


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    names = "efficientnet_lite0", "embedded", "efficientnet_lite0+embedded"
    lite, embedded, pair = (load_vlm(EncoderSettings(model=name, device="cpu")) for name in names)
    network, last = bare(lite), bare(lite).to(memory_format=torch.channels_last)
    pixels = {
        vlm: torch.rand((arguments.batch, 3, side, side), generator=torch.Generator().manual_seed(0))
        for vlm, side in ((one, one.image_size) for one in (lite, embedded, pair))
    }
    own = lite.encode_images(pixels[lite]).layers[0]
    torch.testing.assert_close(own[:, :24].mean(), network(pixels[lite])[1].mean(), rtol=1e-3, atol=1e-4)
    runs: dict[str, Callable[[], object]] = {
        "timm, bare": lambda: network(pixels[lite]),
        "timm, bare, channels last": lambda: last(pixels[lite].to(memory_format=torch.channels_last)),
        "efficientnet_lite0": lambda: lite.encode_images(pixels[lite]),
        "embedded": lambda: embedded.encode_images(pixels[embedded]),
        "efficientnet_lite0+embedded": lambda: pair.encode_images(pixels[pair]),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(arguments.rounds + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began)
    best = {name: min(found[1:]) for name, found in seconds.items()}  # the first warms up
    rows = [
        [name, f"{arguments.batch / best[name]:.1f}", f"{arguments.batch / median(found[1:]):.1f}",
         f"{best['timm, bare'] / best[name]:.2f}"] for name, found in seconds.items()
    ]  # fmt: skip
    print(markdown_table(["", "images/s, best", "median", "of bare timm"], rows, text_columns=1))


if __name__ == "__main__":
    main()
