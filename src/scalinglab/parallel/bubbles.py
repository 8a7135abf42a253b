"""How long the processes of a pipeline wait for each other, on stages of equal and known length.

A stage sleeps instead of computing: a machine with fewer cores than stages shows the schedule all the same.
"""

import time
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage

from scalinglab.parallel.schemes import SCHEDULES


class Nap(torch.autograd.Function):
    """Takes its time forward, and twice that backward, as matrix products do."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, stage: "SleepingStage") -> Tensor:
        ctx.stage = stage
        stage.waiting += 1
        stage.most_waiting = max(stage.most_waiting, stage.waiting)
        time.sleep(stage.seconds)
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        ctx.stage.waiting -= 1
        time.sleep(2 * ctx.stage.seconds)
        return grads[0], None


class SleepingStage(nn.Module):
    """waiting: micro-batches that have come forward and not yet back, whose activations must be kept."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds, self.waiting, self.most_waiting = seconds, 0, 0
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return Nap.apply(x * self.weight, self)


def pipeline_step(schedule: str, micro_batches: int, seconds: float) -> tuple[float, int]:
    """Seconds of one step of a pipeline over all processes of the group, and the most micro-batches that wait here."""
    rank, world = dist.get_rank(), dist.get_world_size()
    module = SleepingStage(seconds)
    stage = PipelineStage(module, rank, world, torch.device("cpu"))
    steps = SCHEDULES[schedule](stage, micro_batches, loss_fn=lambda y, target: (y - target).square().mean())
    x = torch.ones(micro_batches, 4)
    took = 0.0
    for _ in range(2):  # the first also finds out the shapes
        module.waiting = module.most_waiting = 0
        dist.barrier()
        begun = time.perf_counter()
        inputs = (x,) if rank == 0 else ()
        if rank == world - 1:
            steps.step(*inputs, target=x)
        else:
            steps.step(*inputs)
        dist.barrier()
        took = time.perf_counter() - begun
    return took, module.most_waiting
