"""Runs that are too short to be cut into stages: trained and scored within one process, leaving nothing but losses."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from scalinglab import pipeline
from scalinglab.config import Study, seed_of
from scalinglab.files import digest, read_json
from scalinglab.model.decoder import Decoder, initialise
from scalinglab.paths import Paths
from scalinglab.shards import open_shard
from scalinglab.stages.models import build_model, pick_device
from scalinglab.stages.stretches import open_batches, train_stretch
from scalinglab.training.loop import Point, Stretch
from scalinglab.training.optimiser import AdamW
from scalinglab.training.schedule import Rates


@dataclass(frozen=True)
class State:
    """Steps done, weights and moments, and whether the run has diverged."""

    step: int
    tensors: dict[str, Tensor]
    diverged: bool


def job_identity(study: Study, *more: object) -> str:
    """A digest of what decides a job of short runs: parameters, data, code, and the job's own settings."""
    data = read_json(Paths(study.study).manifest)
    return digest([study.seed, asdict(study.model), asdict(study.training), data, *more, pipeline.own_sources()])


class ShortRun:
    """One model in training, from its initial weights; it can be scored and put back to an earlier state."""

    def __init__(self, study: Study, size: str, name: str) -> None:
        self._study, self._name, self.training = study, name, study.training
        torch.manual_seed(study.seed)
        device = pick_device(study)
        model = build_model(study, size)
        initialise(model, study.seed + seed_of(size))
        self.model: Decoder = model.to(device)
        self.optimiser = AdamW(self.model, study.training)
        self.step = 0
        self.diverged = False
        self.curve: list[Point] = []
        self.batches = open_batches(study)
        self._held_out = open_shard(Paths(study.study).of("encode", ""), "validation.npy")

    def train(self, last: int, rates_of: Callable[[int], Rates]) -> None:
        """Train on to step `last`, from a checkpoint of that very stretch where a killed job left one.

        A run that diverged stays as it is.
        """
        stretch, self.step = Stretch(self.step, last), last
        if not self.diverged:
            done = train_stretch(self._study, self._name, self.model, self.optimiser, self.batches, stretch, rates_of)
            self.diverged = done.diverged
            self.curve += done.points

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
