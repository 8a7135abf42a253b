"""What is it of batch norm that RMSNorm lacks? The parts of both, one at a time, in the models of studies/norms.yaml.

Norms that keep the size of a token beside that of others (one scale for a batch, or one for each channel of it) and
norms that make all tokens alike, with and without the mean of the batch. At evaluation, what was taken from batches is
a running average. Each takes the best of the study's rates for seed 0; the other seeds are paired. Beside losses: how
much the stream grows, as the root mean square behind the last block over that before the first. Needs the encoded data
and the rates of a run (results/laptop). Prints a table and writes benchmarks/results/norms.json.
"""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from scalinglab import pipeline
from scalinglab.config import Study, tokens_of
from scalinglab.model.decoder import Decoder
from scalinglab.model.norms import NORMS, Kind
from scalinglab.paths import Paths
from scalinglab.shards import open_shard
from scalinglab.stages.pretraining import read_rate_law
from scalinglab.stages.short_runs import ShortRun
from scalinglab.theory.comparison import compare
from scalinglab.theory.protocol import protocol_of, study_of
from scalinglab.training.schedule import run_rates, steps_of

TARGET = Path(__file__).parent / "results/norms.json"
MOMENTUM = 0.1  # of running averages, as torch's batch norm has it
ROWS = 64  # of held-out text, in which the stream is looked at


class Averaged(nn.Module):
    """A statistic of a batch; at evaluation, its running average."""

    def __init__(self, shape: tuple[int, ...], start: float) -> None:
        super().__init__()
        self.running = nn.Buffer(torch.full(shape, start))

    def forward(self, now: Tensor) -> Tensor:
        if not self.training:
            return self.running
        self.running.lerp_(now.detach(), MOMENTUM)
        return now


class BatchScale(nn.Module):
    """Batch norm without its mean: by one scale of a whole batch, or by one for each channel."""

    def __init__(self, width: int, channels: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.square = Averaged((width,) if channels else (), 1.0)
        self._channels = channels

    def forward(self, x_BTD: Tensor) -> Tensor:
        squares = x_BTD.square()
        mean = self.square(squares.mean(dim=(0, 1)) if self._channels else squares.mean())
        return x_BTD * (mean + 1e-6).rsqrt() * self.weight


class CentredRMSNorm(nn.Module):
    """RMSNorm of what is left without the mean of the batch."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.mean = Averaged((width,), 0.0)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.norm(x_BTD - self.mean(x_BTD.mean(dim=(0, 1))))


PARTS: dict[str, Kind] = {
    "rmsnorm": NORMS["rmsnorm"],
    "batchnorm": NORMS["batchnorm"],
    "a scale for each channel": Kind(lambda width: BatchScale(width, channels=True), 1),
    "one scale": Kind(lambda width: BatchScale(width, channels=False), 1),
    "rmsnorm, batch mean off": Kind(CentredRMSNorm, 1),
}


def stream_growth(model: Decoder, study: Study) -> float:
    """Root mean square of the residual stream behind the last block, over that before the first, on held-out text."""
    rows_RT = open_shard(Paths(study.study).of("encode", ""), "validation.npy")[:ROWS, :-1].astype(np.int64)
    sizes: list[float] = []

    def note(_: nn.Module, x: Any) -> None:
        sizes.append(float((x[0] if isinstance(x, tuple) else x).square().mean().sqrt()))

    hooks = [
        model.blocks[0].register_forward_pre_hook(note),
        model.blocks[-1].register_forward_hook(lambda block, _, x: note(block, x)),
    ]
    model.eval()
    with torch.no_grad():
        model.hidden(torch.from_numpy(rows_RT).to(next(model.parameters()).device))
    for hook in hooks:
        hook.remove()
    return sizes[1] / sizes[0]


def run(study: Study, size: str, tokens: str, seed: int, factor: float, name: str) -> tuple[float, float]:
    """Held-out loss, and how far the stream grows."""
    steps, peak = steps_of(tokens_of(tokens), study.training.batch_tokens), read_rate_law(study).peak(size)
    one = ShortRun(study, f"{size}s{seed}", f"norms-{name}-{seed}-{factor:g}")
    one.train(steps, run_rates(peak, steps, study.training, factor))
    return one.held_out_loss(), stream_growth(one.model, study)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", nargs="*", type=int, default=[1, 2, 3, 4, 5])
    arguments = parser.parse_args()
    params = pipeline.all_params()
    protocol = protocol_of(params, "norms")
    NORMS.update(PARTS)
    plain = study_of(params, protocol, "rmsnorm")
    table, losses = [], {}
    for name in PARTS:
        study = replace(plain, model=replace(plain.model, norm=name))
        sweep = {
            rate: run(study, protocol.size, protocol.tokens, 0, rate, name)
            for rate in protocol.rates
        }  # fmt: skip
        best = min(sweep, key=lambda rate: np.nan_to_num(sweep[rate][0], nan=np.inf))
        found = [run(study, protocol.size, protocol.tokens, seed, best, name) for seed in arguments.seeds]
        losses[name] = [loss for loss, _ in found]
        table.append(
            {
                "norm": name,
                "factor": best,
                "loss": float(np.mean(losses[name])),
                "growth": float(np.mean([growth for _, growth in found])),
                "growth at the highest rate": sweep[max(protocol.rates)][1],
            }
        )
        print(pd.DataFrame(table[-1:]).to_string(index=False), flush=True)
    verdicts = [asdict(one) for one in compare(losses, "rmsnorm", protocol.margin)]
    print(pd.DataFrame(table).merge(pd.DataFrame(verdicts), left_on="norm", right_on="variant", how="left").to_string())
    TARGET.write_text(json.dumps({"table": table, "verdicts": verdicts, "margin": protocol.margin}, indent=2) + "\n")


if __name__ == "__main__":
    main()
