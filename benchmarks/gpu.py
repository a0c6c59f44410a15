"""``python -m benchmarks.gpu [--device cuda]``: images a second on a GPU, in fp32 and bf16, and the same alarms.

An encoder of a published architecture with seeded weights, images of the demo, every detector with a normality.
Encoding, maps and adaptation stand beside the encoder's bare forward; alarms beside those of the CPU in fp32, at a
threshold in the middle of its scores. Prints a Markdown table with the card's name.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from statistics import median
from typing import Any

import torch
from PIL import Image

from benchmarks.peers import clip, line
from flows.inbox.judge import Batch, Judge
from nand_core.detectors.settings import (
    AprilGanSettings,
    DetectorSettings,
    PatchCoreSettings,
    SubspaceSettings,
    WinCLIPSettings,
)
from nand_core.report.tables import markdown_table
from nand_core.vlm.encoder import DTYPES, VLM

COLUMNS = ["precision", "work", "images/s", "of the bare forward", "peak memory, MiB", "same alarms as the CPU in fp32"]
ADAPTED = ": maps and a normality"


def detectors(device: str) -> tuple[DetectorSettings, ...]:
    """Every kind that this package has."""
    patches: tuple[DetectorSettings, ...] = (PatchCoreSettings(device=device), SubspaceSettings(device=device))
    return AprilGanSettings(), *patches, WinCLIPSettings(), WinCLIPSettings(shots=1)


def named(settings: DetectorSettings) -> str:
    """As the profiles name it."""
    return f"winclip_{settings.shots}" if isinstance(settings, WinCLIPSettings) else settings.kind


def judges(vlm: VLM, good: list[Image.Image]) -> dict[str, Judge]:
    """One of each detector, fitted on good images, with a text as its normality."""
    return {named(one): line.judge(one, vlm, good) for one in detectors(str(vlm.device))}


def scores(judge: Judge, images: list[Image.Image]) -> list[float]:
    """After the normality."""
    return [one.score_after for one in judge([str(i) for i in range(len(images))], images)]


def alarms(found: list[float], reference: list[float]) -> str:
    """How many images are on the same side of the middle of the reference's scores."""
    middle = median(reference)
    same = sum((one > middle) == (other > middle) for one, other in zip(found, reference, strict=True))
    return f"{same} of {len(found)}"


def speed(work: Callable[[], object], images: int, device: torch.device, rounds: int) -> tuple[float, str]:
    """Images a second of the best round, and the peak memory of all."""
    cuda = device.type == "cuda"
    work()
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    found = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        if cuda:
            torch.cuda.synchronize(device)
        found.append(time.perf_counter() - begun)
    return images / min(found), f"{torch.cuda.max_memory_allocated(device) / 2**20:.0f}" if cuda else ""


def works(vlm: VLM, fitted: Mapping[str, Judge], images: list[Image.Image]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What is timed: all of an image, but reading it; maps and adaptation on encodings that are there."""
    pixels = torch.stack([vlm.preprocess(image) for image in images])

    @torch.no_grad()
    def bare() -> None:
        with vlm.autocast():
            for part in pixels.split(vlm.batch_size):
                vlm.model.visual(part.to(vlm.device))

    yield "bare forward", bare
    yield "encode", lambda: vlm.encode_images(pixels)
    encoded = Batch([str(i) for i in range(len(images))], images, lambda: vlm)
    encoded.features()
    for name, judge in fitted.items():
        yield f"{name}: maps", lambda judge=judge: judge.detector.maps(encoded)
        yield f"{name}{ADAPTED}", lambda judge=judge: judge.maps(encoded)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--model", default="ViT-L-14-336", help="an architecture of open_clip, or tiny")
    parser.add_argument("--side", type=int, default=518)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    device = torch.device(given.device)
    config = clip.TINY if given.model == "tiny" else clip.config(given.model)
    good, shown = line.photographs("good", given.batch), line.photographs("thread", given.images)
    reference = {name: scores(one, shown) for name, one in judges(clip.encoder(config, given.side), good).items()}
    rows = []
    for precision in ("fp32", "bf16"):
        vlm = clip.encoder(config, given.side, DTYPES[precision], given.device)
        vlm.batch_size = given.batch
        fitted, bare = judges(vlm, good), 0.0
        same = {f"{name}{ADAPTED}": alarms(scores(one, shown), reference[name]) for name, one in fitted.items()}
        for name, work in works(vlm, fitted, shown):
            rate, peak = speed(work, len(shown), device, given.rounds)
            bare = bare or rate
            rows.append([precision, name, f"{rate:.1f}", f"{rate / bare:.2f}", peak, same.get(name, "")])
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU, which says nothing of a card"
    sizes = f"{given.images} images, {given.batch} at once"
    print(f"{given.model} at {given.side}, {sizes}, torch {torch.__version__}, on {card}")
    print(markdown_table(COLUMNS, rows, text_columns=2))


if __name__ == "__main__":
    main()
