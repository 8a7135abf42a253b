"""Is the rate law of the laptop study near the optimum? Held-out loss at multiples of the law's rate, by width.

Needs the encoded data of a laptop run (results/laptop/encode). Prints a table and writes
benchmarks/results/learning_rates.json; `regret` is the loss at the law's own rate over the best one's, minus one.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from scalinglab import config
from scalinglab.config import Study, tokens_of
from scalinglab.evaluation.text import token_losses
from scalinglab.model.decoder import initialise
from scalinglab.paths import Paths
from scalinglab.stages.models import build_model
from scalinglab.training.data import open_batches
from scalinglab.training.loop import Stretch, train
from scalinglab.training.optimiser import AdamW
from scalinglab.training.schedule import anneal_rate, branch_step, peak_rate, steps_of, trunk_rate

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)


def held_out_loss(study: Study, size: str, budget: str, factor: float) -> float:
    """Nats a token of one cell, trained at `factor` times the law's rate."""
    training = study.training
    model = build_model(study, size)
    initialise(model, study.seed)
    optimiser = AdamW(model, training)
    folder = Paths(study.study).of("encode", "")
    batches = open_batches(folder, training.batch_tokens, study.mixture.repeat)
    first, last = branch_step(budget, training), steps_of(tokens_of(budget), training.batch_tokens)
    peak = factor * peak_rate(size, training)

    def rate_of(step: int) -> float:
        on_trunk = step < first
        return peak * (trunk_rate(step, training) if on_trunk else anneal_rate(step, first, last, training))

    stretch = Stretch(0, last)
    if not train(model, optimiser, batches, stretch, rate_of, training, study.execution, lambda *_: None, 0):
        return float("nan")
    return float(token_losses(model, np.load(folder / "validation.npy"), study.evaluation.batch_rows).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="*", default=["d8", "d32", "d128"])
    parser.add_argument("--budget", default="400k")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    study = config.load(Path("presets/laptop.yaml"))
    table = []
    for size in arguments.sizes:
        losses = {factor: held_out_loss(study, size, arguments.budget, factor) for factor in FACTORS}
        best = min(losses, key=lambda factor: losses[factor])
        table.append(
            {
                "size": size,
                "law_rate": round(peak_rate(size, study.training), 5),
                "losses": {str(factor): round(loss, 4) for factor, loss in losses.items()},
                "best_factor": best,
                "regret": round(losses[1.0] / losses[best] - 1, 4),
            }
        )
        print(table[-1], flush=True)
    target = Path(__file__).parent / "results/learning_rates.json"
    target.write_text(json.dumps({"budget": arguments.budget, "table": table}, indent=2) + "\n")


if __name__ == "__main__":
    main()
