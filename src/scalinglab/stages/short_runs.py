"""Runs that are too short to be cut into stages: trained and scored within one process, leaving nothing but losses."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scalinglab.config import Study, seed_of
from scalinglab.model.decoder import Decoder, initialise
from scalinglab.paths import Paths
from scalinglab.reporter import Reporter
from scalinglab.stages.models import build_model, pick_device
from scalinglab.stages.pretraining import SCRATCH
from scalinglab.training.data import open_batches
from scalinglab.training.loop import Point, Stretch, train
from scalinglab.training.optimiser import AdamW


@dataclass(frozen=True)
class State:
    """Steps done, weights and moments, and whether the run has diverged."""

    step: int
    tensors: dict[str, Tensor]
    diverged: bool


class ShortRun:
    """One model in training, from its initial weights; it can be scored and put back to an earlier state."""

    def __init__(self, study: Study, size: str, name: str) -> None:
        self._study, self._name = study, name
        torch.manual_seed(study.seed)
        device = pick_device(study)
        model = build_model(study, size)
        initialise(model, study.seed + seed_of(size))
        self.model: Decoder = model.to(device)
        self.optimiser = AdamW(self.model, study.training)
        self.step = 0
        self.diverged = False
        encoded = Paths(study.study).of("encode", "")
        self._batches = open_batches(encoded, study.training.batch_tokens, study.mixture.repeat)
        self._held_out = np.load(encoded / "validation.npy", mmap_mode="r")

    def train(self, last: int, rate_of: Callable[[int], float]) -> None:
        """Train on to step `last`. A run that diverged stays as it is."""
        study, batch_tokens = self._study, self._study.training.batch_tokens
        stretch, self.step = Stretch(self.step, last), last
        self._batches.check(stretch.last, f"{self._name}: budget")
        live = SCRATCH / study.study / "live" / f"{self._name}.jsonl"
        with Reporter(self._name, stretch.last * batch_tokens, live, study.execution.log_seconds) as reporter:

            def after_step(step: int, point: Point | None) -> None:
                reporter.update(step * batch_tokens, point.loss if point else None, last=step == stretch.last)

            self.diverged = self.diverged or not train(
                self.model,
                self.optimiser,
                self._batches,
                stretch,
                rate_of,
                study.training,
                study.execution,
                after_step,
                stretch.first,
            )

    def state(self) -> State:
        """A copy of what training goes on from, to come back to."""
        tensors = {name: tensor.clone() for name, tensor in self.optimiser.state_tensors().items()}
        return State(self.step, tensors, self.diverged)

    def restore(self, state: State) -> None:
        """Go back to an earlier state."""
        self.optimiser.restore(state.tensors, state.step)
        self.step, self.diverged = state.step, state.diverged

    def held_out_loss(self) -> float:
        """Mean held-out loss in nats a token; NaN where the run diverged."""
        if self.diverged:
            return float("nan")
        self.model.eval()
        device, total, tokens = next(self.model.parameters()).device, 0.0, 0
        at_once = self._study.training.batch_tokens // self._study.mixture.seq_len
        for start in range(0, len(self._held_out), at_once):
            block = torch.from_numpy(self._held_out[start : start + at_once].astype(np.int64)).to(device)
            targets_BT = block[:, 1:].contiguous()
            with torch.no_grad():
                mean = self.model.loss(block[:, :-1], targets_BT, torch.arange(targets_BT.numel(), device=device))
            total += float(mean) * targets_BT.numel()
            tokens += targets_BT.numel()
        return total / tokens
