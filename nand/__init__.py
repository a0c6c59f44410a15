"""NAND: tell a trained image anomaly detector, by text or by example, what counts as normal from now on.

``import nand`` loads nothing heavy; PyTorch and the encoder come with the first use of a name. docs: docs/library.md
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
