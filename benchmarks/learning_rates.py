"""What the law of learning rates costs: at the largest width, which was not tuned, and at a longer budget.

Trains cells at multiples of the law's rate and compares held-out losses; `regret` is the loss at the law's own rate
over the lowest of all, minus one. Needs the encoded data and the rates of a run (results/laptop). Prints a
table and writes benchmarks/results/learning_rates.json.
"""

import argparse
import json
from pathlib import Path

import pandas as pd

from scalinglab import config
from scalinglab.config import Study, tokens_of
from scalinglab.paths import Paths
from scalinglab.stages.pretraining import read_rate_law
from scalinglab.stages.short_runs import ShortRun
from scalinglab.training.schedule import run_rates, steps_of
from scalinglab.tuning import best_rate

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)


def held_out_loss(study: Study, size: str, budget: str, rate: float) -> float:
    """Nats a token of one cell, trained at a peak rate of its own."""
    steps = steps_of(tokens_of(budget), study.training.batch_tokens)
    one = ShortRun(study, size, f"{size}-{budget}-{rate:.2g}")
    one.train(steps, run_rates(rate, steps, study.training))
    return one.held_out_loss()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="laptop")
    parser.add_argument("--sizes", nargs="*", default=["d128", "d8"])
    parser.add_argument("--budgets", nargs="*", default=["400k", "1600k"])
    arguments = parser.parse_args()
    study = config.load(Path(f"presets/{arguments.preset}.yaml"))
    metrics = json.loads(Paths(study.study).of("table", "metrics.json").read_text())
    noise = round(100 * metrics["seed_noise"], 2)
    law, rows = read_rate_law(study), []
    for budget in arguments.budgets:
        for size in arguments.sizes:
            rates = [factor * law.peak(size) for factor in FACTORS]
            losses = [held_out_loss(study, size, budget, rate) for rate in rates]
            best = best_rate(size, rates, losses)
            rows.append(
                {
                    "size": size,
                    "budget": budget,
                    "rate": round(law.peak(size), 5),
                    **{f"loss x{factor:g}": round(loss, 4) for factor, loss in zip(FACTORS, losses, strict=True)},
                    "best / rate": round(best.rate / law.peak(size), 2),
                    "best inside": best.inside,
                    "regret %": round(100 * (losses[FACTORS.index(1.0)] / best.loss - 1), 2),
                }
            )
            print(pd.DataFrame(rows[-1:]).to_string(index=False), flush=True)
    print(pd.DataFrame(rows).to_string(index=False))
    print(f"noise between seeds: {noise} %")
    target = Path(__file__).parent / "results/learning_rates.json"
    target.write_text(json.dumps({"seed_noise_percent": noise, "table": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
