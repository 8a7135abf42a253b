"""The training loop: a pure stretch of steps from one state to another, reporting as it goes.

Everything that decides a step is a function of its number (data, rate), so a run that stops and continues from its
saved state is bitwise the run that never stopped.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from scalinglab.config import Execution, Training
from scalinglab.model.decoder import Decoder
from scalinglab.training.data import Batch, Batches
from scalinglab.training.optimiser import AdamW
from scalinglab.training.precision import autocast, emulated, lowered, products
from scalinglab.training.schedule import Rates

CURVE_POINTS = 64  # losses are averaged and kept this often over a stretch: enough to draw, cheap to hold


@dataclass(frozen=True)
class Point:
    """Mean training loss (nats a scored token) and gradient norm before clipping over the steps since the last point,
    ending at `step`. The norm is not finite where a step was skipped for gradients that are not."""

    step: int
    loss: float
    grad_norm: float
    lr: float


@dataclass(frozen=True)
class Stretch:
    """Steps `first <= step < last` of one run."""

    first: int
    last: int


@dataclass
class Meter:
    """What was measured since the last curve point: a run that goes on between two points draws the same curve.

    total, norm: sums of the steps' mean nats and gradient norms, scalars on the model's device. steps: how many.
    """

    total: torch.Tensor
    norm: torch.Tensor
    steps: int = 0

    @classmethod
    def new(cls, device: torch.device) -> "Meter":
        return cls(torch.zeros((), device=device), torch.zeros((), device=device))

    def add(self, loss: torch.Tensor, norm: torch.Tensor) -> None:
        self.total += loss.detach()
        self.norm += norm
        self.steps += 1

    def point(self, step: int, rate: float) -> Point:
        """The means, after which it starts anew."""
        point = Point(step, (self.total / self.steps).item(), (self.norm / self.steps).item(), rate)
        self.total.zero_()
        self.norm.zero_()
        self.steps = 0
        return point


def train(
    model: Decoder,
    optimiser: AdamW,
    batches: Batches,
    stretch: Stretch,
    rates_of: Callable[[int], Rates],
    training: Training,
    execution: Execution,
    after_step: Callable[[int, Point | None], None],
    start: int,
    meter: Meter | None = None,
) -> bool:
    """Train from `start` (within the stretch) to its end; return False where the run diverged.

    after_step(step, point) is called with the number of steps done, and with a curve point where one is due.
    meter: what was measured before `start`, kept up to date for whoever saves the run's state; a new one by default.
    """
    device = next(model.parameters()).device
    compiled = execution.compile and not emulated(training.precision, device)  # compiled products are not seen
    forward: Callable[..., torch.Tensor] = torch.compile(model.loss) if compiled else model.loss
    every = max(1, (stretch.last - stretch.first) // CURVE_POINTS)
    meter = meter or Meter.new(device)
    noisy = any(isinstance(module, nn.Dropout) for module in model.modules())
    model.train()
    for step in range(start, stretch.last):
        batch = _to(batches[step], device)
        rates = rates_of(step)
        if noisy:
            torch.manual_seed(step)  # what is dropped is a function of the step as well
        inputs = (batch.tokens_BT, batch.targets_BT, batch.scored_N)
        with products(training.precision, device):
            with autocast(lowered(training, execution), device):
                loss = forward(*inputs, training.label_smoothing, batch.two_way)
            optimiser.backward(loss)
        norm = nn.utils.clip_grad_norm_(model.parameters(), training.clip_norm * model.gradient_unit, foreach=True)
        optimiser.step(rates)
        meter.add(loss, norm)
        point = None
        if (step + 1 - stretch.first) % every == 0 or step + 1 == stretch.last:
            point = meter.point(step + 1, rates.others)
            if not math.isfinite(point.loss) or optimiser.stuck:
                return False
        after_step(step + 1, point)
    return True


def _to(batch: Batch, device: torch.device) -> Batch:
    if device.type == "cpu":
        return batch
    tokens_BT, targets_BT, scored_N = (
        t.to(device, non_blocking=True) for t in (batch.tokens_BT, batch.targets_BT, batch.scored_N)
    )
    return Batch(tokens_BT, targets_BT, scored_N, batch.two_way)
