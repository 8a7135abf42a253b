"""One decoder trained by several processes: data, tensor and pipeline parallelism, ZeRO, and three of them at once.

Every scheme is torch's own (DDP, ZeroRedundancyOptimizer, FSDP2, DTensor, pipelining). `build` gives a step: from the
tokens [B, T + 1] of the whole batch to the loss of the whole batch, with one update of AdamW.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe
from torch.distributed.tensor import DTensor, Replicate
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    PrepareModuleInput,
    RowwiseParallel,
    parallelize_module,
)
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from scalinglab.model.decoder import Block, Decoder

Step = Callable[[Tensor], float]
SCHEDULES = {"GPipe": ScheduleGPipe, "1F1B": Schedule1F1B}


@dataclass(frozen=True)
class Scheme:
    """How many processes do what: data x pipeline x tensor, ZeRO's stage, and the schedule of a pipeline.

    zero: 0 copies everything to all (DDP); 1 cuts up the optimiser's state; 2 and 3 the gradients and parameters too
    (FSDP2), where 2 keeps the gathered parameters from the forward pass for the backward one, and 3 gathers them again.
    """

    name: str
    data: int = 1
    tensor: int = 1
    pipeline: int = 1
    zero: int = 0
    schedule: str = "GPipe"
    micro_batches: int = 4

    @property
    def world(self) -> int:
        return self.data * self.tensor * self.pipeline


class Part(nn.Module):
    """Some consecutive blocks of a decoder; the first part embeds the tokens, the last one gives logits [B, T, V]."""

    def __init__(self, model: Decoder, index: int, parts: int) -> None:
        super().__init__()
        per_part = len(model.blocks) // parts
        self.first, self.last = index == 0, index == parts - 1
        self.position, self.blocks = model.position, model.blocks[index * per_part : (index + 1) * per_part]
        if self.first:
            self.embedding = model.embedding
        if self.last:
            self.norm, self.head = model.norm, model.head

    def forward(self, x: Tensor) -> Tensor:
        x_BTD = self.position.embed(self.embedding(x)) if self.first else x
        for block in self.blocks:
            x_BTD = block(x_BTD)
        return self.head(self.norm(x_BTD)) if self.last else x_BTD


def loss_of(logits_BTV: Tensor, targets_BT: Tensor) -> Tensor:
    """Mean nats a token."""
    return cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten())


def build(scheme: Scheme, model: Decoder, rate: float) -> tuple[Step, nn.Module, torch.optim.Optimizer]:
    """This process's step, its part of the model, and its optimiser."""
    mesh = init_device_mesh(
        "cpu", (scheme.data, scheme.pipeline, scheme.tensor), mesh_dim_names=("data", "pipeline", "tensor")
    )
    part = Part(model, mesh["pipeline"].get_local_rank(), scheme.pipeline)
    if scheme.tensor > 1:
        split_tensors(part, mesh["tensor"])
    data = mesh["data"]
    trained: nn.Module = part
    if scheme.data > 1 and scheme.zero >= 2:
        for block in part.blocks:
            fully_shard(block, mesh=data, reshard_after_forward=scheme.zero == 3)
        fully_shard(part, mesh=data, reshard_after_forward=scheme.zero == 3)
    elif scheme.data > 1:
        trained = DistributedDataParallel(part, process_group=data.get_group())
    if scheme.zero == 1:
        optimiser: torch.optim.Optimizer = ZeroRedundancyOptimizer(
            trained.parameters(), torch.optim.AdamW, process_group=data.get_group(), lr=rate
        )
    else:
        optimiser = torch.optim.AdamW(trained.parameters(), lr=rate)
    run = _whole(trained) if scheme.pipeline == 1 else _pipelined(scheme, trained, part, mesh["pipeline"])

    def step(tokens_BT: Tensor) -> float:
        optimiser.zero_grad()
        loss = run(tokens_BT.chunk(scheme.data)[data.get_local_rank()])
        optimiser.step()
        dist.all_reduce(loss)  # the last parts of the pipelines know it, each of its share of the batch
        return float(loss) / (scheme.data * scheme.tensor)

    return step, part, optimiser


def held_bytes(part: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[int, int, int]:
    """Bytes of parameters, their gradients, and the optimiser's state that this process holds when a step has ended."""
    inner = getattr(optimiser, "optim", optimiser)  # ZeroRedundancyOptimizer holds one for its share
    states = [x for state in inner.state.values() for x in state.values() if isinstance(x, Tensor) and x.dim()]
    gradients = [parameter.grad for parameter in part.parameters() if parameter.grad is not None]
    parameters, of_gradients, of_states = (
        sum(_local_bytes(x) for x in tensors) for tensors in (part.parameters(), gradients, states)
    )
    return parameters, of_gradients, of_states


def _local_bytes(x: Tensor) -> int:
    return (x.to_local() if isinstance(x, DTensor) else x).nbytes


def _whole(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """Forward and backward pass of a model that is in one piece."""

    def run(tokens_BT: Tensor) -> Tensor:
        loss = loss_of(model(tokens_BT[:, :-1]), tokens_BT[:, 1:])
        loss.backward()
        return loss.detach()

    return run


def _pipelined(scheme: Scheme, model: nn.Module, part: Part, mesh: DeviceMesh) -> Callable[[Tensor], Tensor]:
    """The same of a model whose parts stand in different processes."""
    stage = PipelineStage(model, mesh.get_local_rank(), scheme.pipeline, torch.device("cpu"), group=mesh.get_group())
    schedule = SCHEDULES[scheme.schedule](stage, scheme.micro_batches, loss_fn=loss_of)

    def run(tokens_BT: Tensor) -> Tensor:
        losses: list[Tensor] = []
        inputs = (tokens_BT[:, :-1],) if part.first else ()
        if part.last:
            schedule.step(*inputs, target=tokens_BT[:, 1:], losses=losses)
        else:
            schedule.step(*inputs)
        return torch.stack(losses).mean().detach() if part.last else torch.zeros((), dtype=torch.float64)

    return run


def split_tensors(part: Part, mesh: DeviceMesh) -> None:
    """Give each process of the mesh its heads and hidden units: columns of the matrices that make them, rows of those
    that read them (Shoeybi et al. 2019, section 3)."""
    n = mesh.size()
    for block in part.blocks:
        assert isinstance(block, Block)
        attention = block.attention
        with torch.no_grad():
            # Rows of queries, keys and values side by side for each process, so that equal parts are whole heads.
            sizes = [heads * attention.head_dim for heads in (attention.n_head, *[attention.n_kv_head] * 2)]
            q, k, v = (matrix.chunk(n) for matrix in attention.qkv.weight.split(sizes))
            attention.qkv.weight.copy_(torch.cat([rows for one in zip(q, k, v, strict=True) for rows in one]))
        attention.n_head, attention.n_kv_head = attention.n_head // n, attention.n_kv_head // n
        plan: dict[str, ParallelStyle] = {
            name: RowwiseParallel() if name.endswith(("out", "down")) else ColwiseParallel()
            for name, module in block.named_modules()
            if isinstance(module, nn.Linear)
        }
        # Once for both matrices of a gated part: else each would sum its gradient over the processes by itself.
        plan["feed_forward"] = PrepareModuleInput(
            input_layouts=(Replicate(),), desired_input_layouts=(Replicate(),), use_local_output=False
        )
        parallelize_module(block, mesh, plan)
