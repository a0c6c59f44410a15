"""PatchCore from pixels to maps, beside anomalib's torch model with the same network and memory bank.

``python -m benchmarks.peers.rows.patchcore ours|anomalib|forward IMAGES THREADS`` prints, of a process of its own, by
how much a batch's maps raised its peak memory, in MiB, and the sum of the maps.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import timm
import torch
from torch import Tensor

from benchmarks.peers.pairs import Pair, Size, give_memory_back
from nand_core.detectors.backbones import Modules
from nand_core.detectors.base import Context
from nand_core.detectors.patchcore import PatchCore
from nand_core.detectors.settings import PatchCoreSettings

LAYERS = ("layer2", "layer3")
SIDE, ROWS, WIDTH = 224, 15_680, 128 + 256
Maps = Callable[[Tensor], Tensor]


def network() -> timm.models.resnet.ResNet:
    """Seeded weights."""
    torch.manual_seed(0)
    return timm.create_model("resnet18", pretrained=False, num_classes=0).eval()


def memory_bank(rows: int) -> Tensor:
    """What a tenth of 200 images' patches would be like."""
    return torch.randn(rows, WIDTH, generator=torch.Generator().manual_seed(0)).relu()


def ours(rows: int = ROWS) -> Maps:
    """Pixels (n, 3, S, S) to maps (n, S, S)."""
    settings = PatchCoreSettings(backbone="timm:resnet18.seeded", resize=SIDE, crop=None, device="cpu")
    backbone = Modules(network(), LAYERS, SIDE, None, torch.device("cpu"))
    detector = PatchCore(settings, Context("part", None, None))
    detector.load_state({"bank": memory_bank(rows)})
    return lambda pixels: detector.feature_maps(backbone(pixels))


def anomalib(rows: int = ROWS) -> Maps:
    """The same of theirs. Their score is the map's maximum, too: one neighbour, no weights."""
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel

    model = PatchcoreModel(LAYERS, backbone="resnet18", pre_trained=False, num_neighbors=1).eval()
    weights = network().state_dict()
    held = model.feature_extractor.feature_extractor
    held.load_state_dict({name: weights[name] for name in held.state_dict()})
    model.memory_bank = memory_bank(rows)
    return lambda pixels: model(pixels).anomaly_map[:, 0]


def forward() -> Maps:
    """The layers' maps alone, the last one."""
    backbone = Modules(network(), LAYERS, SIDE, None, torch.device("cpu"))
    return lambda pixels: backbone(pixels)[-1]


def same_maps(one: Tensor, other: Tensor) -> str:
    """To 1e-4 of their largest value."""
    difference = float((one - other).abs().max() / other.abs().max())
    assert difference <= 1e-4, f"maps differ by {difference:.1e} of the largest value"
    return f"maps to {difference:.0e} of the largest value"


def same_peaks(one: tuple[float, float], other: tuple[float, float]) -> str:
    """The sums of the maps that the two processes made."""
    assert abs(one[1] - other[1]) <= 1e-4 * abs(other[1]), f"the maps' sums are {one[1]} and {other[1]}"
    return "sums of the maps to 1e-4"


def pairs(size: Size) -> Iterator[Pair]:
    """One image, a batch, and the memory that the batch takes."""
    rows, batch = size.of(ROWS, 500), size.of(32, 2)
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(batch, 3, SIDE, SIDE, generator=generator)
    one, other = ours(rows), anomalib(rows)
    for count in (1, batch):
        name, some = f"PatchCore, ResNet-18, {count} x {SIDE}, bank {rows}", pixels[:count]
        yield Pair(name, "anomalib's torch model", lambda x=some: one(x), lambda x=some: other(x), same_maps, aim=0.67)
    for side, against, check, aim in (
        ("anomalib", "anomalib's torch model", same_peaks, 0.7),
        ("forward", "the network's forward alone", lambda *_: "a bound", None),
    ):
        yield Pair(
            f"its peak memory above the loaded model's, {batch} x {SIDE}",
            against,
            lambda: separate("ours", batch, size.threads),
            lambda side=side: separate(side, batch, size.threads),
            check,
            aim=aim,
            figure=lambda run: run()[0],
            unit="MiB",
            rounds=5,
        )


def separate(side: str, images: int, threads: int) -> tuple[float, float]:
    """What a process of its own says of its peak."""
    command = [sys.executable, "-m", __name__, side, str(images), str(threads)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    peak, total = said.split()[-2:]
    return float(peak), float(total)


def peak() -> int:
    """Of this process, in bytes. What getrusage says holds for the process that started it, too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def main() -> None:
    side, images, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(threads)
    give_memory_back()
    run = {"ours": ours, "anomalib": anomalib, "forward": forward}[side]()
    pixels = torch.randn(images, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    run(pixels[:1])  # what is made once is part of the loaded model
    before = psutil.Process().memory_info().rss
    total = run(pixels).double().sum()
    print((peak() - before) / 2**20, float(total))


if __name__ == "__main__":
    main()
