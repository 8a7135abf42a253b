"""What the learning rates of a study cost: the law's at the largest width, which was not tuned, and at a longer budget;
and the embedding's, which is the same at every width.

Trains cells at multiples of the law's rate, and others at multiples of the embedding's, and compares held-out losses;
`regret` is the loss at the study's own rates over the lowest of all, minus one. Needs the encoded data and the rates of
a run (results/laptop). Prints two tables and writes benchmarks/results/learning_rates.json.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from scalinglab import config
from scalinglab.config import Study, tokens_of
from scalinglab.paths import Paths
from scalinglab.stages.pretraining import read_rate_law
from scalinglab.stages.short_runs import ShortRun
from scalinglab.training.schedule import run_rates, steps_of
from scalinglab.tuning import best_rate

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)


def held_out_loss(study: Study, size: str, budget: str, rate: float, embedding: float) -> float:
    """Nats a token of one cell, trained at a peak rate of its own and one of its embedding (0: the same)."""
    training = replace(study.training, embedding_rate=embedding)
    steps = steps_of(tokens_of(budget), training.batch_tokens)
    one = ShortRun(replace(study, training=training), size, f"{size}-{budget}-{rate:.2g}-{embedding:.2g}")
    one.train(steps, run_rates(rate, steps, training))
    return one.held_out_loss()


def row(size: str, budget: str, rate: float, losses: Sequence[float]) -> dict[str, Any]:
    """Losses at the multiples of a rate, and what the rate itself costs."""
    best = best_rate(size, [factor * rate for factor in FACTORS], losses)
    found = {
        "size": size,
        "budget": budget,
        "rate": round(rate, 5),
        **{f"loss x{factor:g}": round(loss, 4) for factor, loss in zip(FACTORS, losses, strict=True)},
        "best rate": round(best.rate, 5),
        "best inside": best.inside,
        "regret %": round(100 * (losses[FACTORS.index(1.0)] / best.loss - 1), 2),
    }
    print(pd.DataFrame([found]).to_string(index=False), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="laptop")
    parser.add_argument("--sizes", nargs="*", default=["d128", "d8"])
    parser.add_argument("--budgets", nargs="*", default=["400k", "1600k"])
    parser.add_argument("--embedding-sizes", nargs="*", default=["d128", "d64", "d32", "d16", "d8"])
    parser.add_argument("--embedding-budget", default="400k")
    arguments = parser.parse_args()
    study = config.load(Path(f"presets/{arguments.preset}.yaml"))
    metrics = json.loads(Paths(study.study).of("table", "metrics.json").read_text())
    noise = round(100 * metrics["seed_noise"], 2)
    law, own = read_rate_law(study), study.training.embedding_rate
    rows, embedding = [], []
    for budget in arguments.budgets:
        for size in arguments.sizes:
            peak = law.peak(size)
            losses = [held_out_loss(study, size, budget, factor * peak, own) for factor in FACTORS]
            rows.append(row(size, budget, peak, losses))
    for size in arguments.embedding_sizes if own else ():
        budget, peak = arguments.embedding_budget, law.peak(size)
        losses = [held_out_loss(study, size, budget, peak, factor * own) for factor in FACTORS]
        found = row(size, budget, own, losses)
        embedding.append({**found, "loss slow": round(held_out_loss(study, size, budget, peak, 0.0), 4)})
    print(pd.DataFrame(rows).to_string(index=False))
    print(pd.DataFrame(embedding).to_string(index=False))
    print(f"noise between seeds: {noise} %")
    target = Path(__file__).parent / "results/learning_rates.json"
    record = {"seed_noise_percent": noise, "table": rows, "embedding": embedding}
    target.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
