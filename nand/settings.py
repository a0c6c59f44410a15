"""What the public API takes and raises: the models of ``params.yaml``'s sections, and the error of a user's mistake."""

from nand_core.errors import NandError
from nand_core.prompts.settings import PromptSettings
from nand_core.settings import ExampleSettings, RegionSettings, SuppressionSettings
from nand_core.vlm.settings import EncoderSettings, TileSettings

__all__ = [
    "EncoderSettings", "ExampleSettings", "NandError", "PromptSettings", "RegionSettings", "SuppressionSettings",
    "TileSettings",
]  # fmt: skip
