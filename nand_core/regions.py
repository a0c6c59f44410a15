"""What hangs together in maps, and figures of it.

By NumPy, and by torch only while a graph is exported (``nand.export``): on maps of this size torch's threads cost more
than they bring.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import label
from torch import Tensor
from torch._higher_order_ops.while_loop import while_loop

Array: TypeAlias = Any
"""A NumPy array, in a graph a tensor."""

# Neighbours within an image, none across the images of a batch.
_TOUCHING = np.stack([np.zeros((3, 3)), np.ones((3, 3)), np.zeros((3, 3))])


def regions(maps: Tensor, level: float) -> tuple[Array, Array, int]:
    """What lies above ``level`` in maps (N, H, W), by its connected regions: 8 neighbours, none in another image.

    Returns:
        Places in the flattened maps, (n,) ascending, the number of each one's region, (n,) from 1, and a number that
        none of them exceeds.
    """
    if torch.compiler.is_exporting():  # the sizes in a graph must not depend on an image
        return *_grown(maps, level), maps.numel()
    found, count = label(maps.numpy() > level, _TOUCHING)
    inside = np.flatnonzero(found)
    return inside, found.ravel()[inside], count


def _grown(maps: Tensor, level: float) -> tuple[Tensor, Tensor]:
    """The same as torch's operators, for a few maps: every position takes the largest number of its region."""
    inside = maps > level
    mask, places = inside.float()[:, None], inside.flatten().nonzero()[:, 0]
    each = torch.arange(1, maps.numel() + 1).where(inside.flatten(), 0)

    def step(numbers: Tensor, changes: Tensor) -> tuple[Tensor, Tensor]:
        around = numbers[1:].view(mask.shape).float()
        for _ in range(4):
            around = F.max_pool2d(around, 3, 1, 1) * mask
        # Whose number this was takes it too, and with it all that have that number: few steps are enough.
        handed = numbers.scatter_reduce(0, numbers[1:], around.flatten().long(), "amax")
        found = handed.index_select(0, handed.index_select(0, numbers))
        own = found[1:].view(mask.shape).float()
        return found, (F.max_pool2d(own, 3, 1, 1) * mask != own).any()

    start = torch.cat([each.new_zeros(1), each])
    changed = torch.tensor(True)
    numbers, _ = while_loop(lambda _, changes: changes.clone(), step, (start, changed))  # type: ignore[no-untyped-call]
    return places, numbers[1:].index_select(0, places)


def values_at(maps: Tensor, inside: Array) -> Array:
    """Of maps at places in them, (n,) float64."""
    if isinstance(inside, Tensor):
        return taken(maps.flatten(), inside).double()
    return maps.numpy().ravel()[inside].astype(np.float64)


def taken(values: Array, places: Array) -> Array:
    """``values[places]`` of one dimension; for onnxruntime many times faster than what indexing is exported as."""
    return values.index_select(0, places) if isinstance(values, Tensor) else values[places]


def sums(values: Array, of: Array, count: int) -> Array:
    """Of the values (n,) of each region, (count + 1,), added up in their order."""
    if isinstance(values, Tensor):
        return values.new_zeros(count + 1).scatter_add(0, of, values)
    return np.bincount(of, values, count + 1)


def maxima(values: Array, of: Array, count: int) -> Array:
    """Of the values (n,) >= 0 of each region, (count + 1,)."""
    if isinstance(values, Tensor):
        return values.new_zeros(count + 1).scatter_reduce(0, of, values, "amax")
    most = np.zeros(count + 1)
    np.maximum.at(most, of, values)
    return most


def quotient(values: Array, by: Array, where: Array, otherwise: float) -> Array:
    """``values`` / ``by`` where that is asked for."""
    if isinstance(values, Tensor):
        return (values / by).where(where, otherwise)
    return np.divide(values, by, out=np.full(len(values), otherwise), where=where)


def largest(arrays: Sequence[Array]) -> Array:
    """The maximum of several arrays, place by place."""
    return torch.stack(list(arrays)).amax(dim=0) if isinstance(arrays[0], Tensor) else np.maximum.reduce(arrays)


def replaced(maps: Tensor, inside: Array, values: Array) -> Tensor:
    """The maps with other values at these places."""
    if isinstance(inside, Tensor):
        return maps.flatten().index_put((inside,), values.to(maps.dtype)).view(maps.shape)
    found = maps.numpy().copy()
    found.ravel()[inside] = values
    return torch.from_numpy(found)
