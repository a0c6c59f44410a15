"""The image tower's training."""

from __future__ import annotations

import numpy as np
import open_clip
import torch
import torch.distributed as dist

from nand_core.adaptation.patches import patch_labels
from nand_core.drawing.lexicon import lexicon
from nand_core.drawing.scenes import TYPES
from nand_core.vlm.words import WordTokenizer
from training import checkpoint
from training.augment import augment
from training.losses import patch_loss, token_loss
from training.model import Tower, build_clip, model_config, start_patch_embedding
from training.pool import Pool
from training.settings import TrainSettings
from training.targets import image_targets, siblings
from training.windows import draw_views, draw_windows, majority

_WEIGHTS = {"classes": 1.0, "focal": 2.0, "dice": 0.5, "pairs": 4.0, "image": 0.1, "window": 0.2}


def _rate(step: int, length: int, height: float) -> float:
    """Of a cycle: warm-up over 50 steps, constant, linear to zero over the last 40 %."""
    return height * min(1.0, (step + 1) / 50) * min(1.0, max(0.02, (1 - step / length) / 0.4))


def _optimisers(tower: Tower, settings: TrainSettings) -> list[torch.optim.Optimizer]:
    blocks = [p for p in tower.visual.transformer.parameters() if p.ndim == 2]
    chosen = {id(p) for p in blocks}
    rest = [p for p in tower.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(blocks, lr=settings.muon_lr, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=settings.adam_lr, weight_decay=0.01, betas=(0.9, 0.98)),
    ]


class Trainer:
    """The image tower's training on one process."""

    def __init__(self, settings: TrainSettings, rank: int) -> None:
        self.settings, self.rank = settings, rank
        self.lexicon = lexicon()
        self.tokenizer = WordTokenizer(self.lexicon.vocabulary, 32)
        self.config = model_config(self.tokenizer.vocab_size)
        torch.manual_seed(settings.seed)
        self.model = build_clip(self.config)
        start_patch_embedding(self.model.visual)
        self.tower = Tower(self.model.visual)
        self.parameters = list(self.tower.parameters())
        self.average = [p.detach().clone() for p in self.parameters]
        self.optimisers = _optimisers(self.tower, settings)
        self.targets = image_targets(self.lexicon, TYPES, self.config["embed_dim"])
        self.siblings = siblings(self.lexicon, TYPES)
        self.step = 0
        self.path = settings.folder / "checkpoint.pt"
        self._resume()
        self.pool = Pool(
            settings.folder / "pool", settings.seed * 64 + rank + 1, settings.pool, settings.ramp
        )

    def _resume(self) -> None:
        state = checkpoint.load(self.path)
        if state is None:
            return
        self.tower.load_state_dict(state["tower"])
        for mine, saved in zip(self.average, state["average"], strict=True):
            mine.copy_(saved)
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.step = state["step"]

    def save(self) -> None:
        checkpoint.save(
            self.path,
            {
                "tower": self.tower.state_dict(),
                "average": self.average,
                "step": self.step,
                "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            },
        )

    @property
    def images(self) -> int:
        """Images seen so far by all processes."""
        return self.step * self.settings.batch * self.settings.processes

    def losses(self, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        images, labels = augment(*self.pool.batch(rng, self.settings.batch), rng)
        label = patch_labels(labels, len(TYPES))
        seen, side = None, 16
        step, length, _ = self.settings.cycle(self.step)
        if step / length < self.settings.partial:
            side = 12
            seen = draw_views(label, rng, side)
            label = label.gather(1, seen)
        with torch.autocast("cpu", torch.bfloat16):
            patches, image, tokens = self.tower(images, seen)
            chosen, members, window_label = draw_windows(label, rng, 3 * len(images), side)
            window = self.tower.windows(tokens, chosen, members)
        losses = patch_loss(patches, label, self.targets, self.siblings)
        losses["image"] = token_loss(image, majority(label, 0.004), self.targets)
        losses["window"] = token_loss(window, window_label, self.targets)
        return losses

    def train_step(self) -> dict[str, float]:
        """One step on all processes; returns the losses of this one."""
        self.pool.fill(self.settings.start + self.step * self.settings.fresh)
        rng = np.random.default_rng([self.settings.seed, 2, self.rank, self.step])
        losses = self.losses(rng)
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        sum(_WEIGHTS[name] * loss for name, loss in losses.items()).backward()
        flat = torch.cat(
            [torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in self.parameters]
        )
        if dist.is_initialized():
            dist.all_reduce(flat)
            flat /= dist.get_world_size()
        flat *= min(1.0, 2.0 / (float(flat.norm()) + 1e-6))
        for p, grad in zip(self.parameters, flat.split([p.numel() for p in self.parameters]), strict=True):
            p.grad = grad.view_as(p)
        rate = _rate(*self.settings.cycle(self.step))
        for optimiser, lr in zip(
            self.optimisers, (self.settings.muon_lr, self.settings.adam_lr), strict=True
        ):
            for group in optimiser.param_groups:
                group["lr"] = lr * rate
            optimiser.step()
        decay = min(self.settings.decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.parameters, 1 - decay)
        self.step += 1
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def averaged(self) -> tuple[open_clip.CLIP, Tower]:
        """The model and tower with the averaged weights."""
        model = build_clip(self.config)
        model.load_state_dict(self.model.state_dict())
        tower = Tower(model.visual)
        tower.load_state_dict(self.tower.state_dict())
        with torch.no_grad():
            for mine, value in zip(tower.parameters(), self.average, strict=True):
                mine.copy_(value)
        return model.eval(), tower.eval()
