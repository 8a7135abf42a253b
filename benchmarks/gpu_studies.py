"""Controlled studies on a GPU: in the device's own number formats, or at twice the width.

The protocol of each study (studies/<name>.yaml) with what CASES changes: each variant at the best of the rates for seed
0, then all seeds, many runs at a time. Needs the encoded data and the rates of a run (results/laptop). Prints tables
and writes benchmarks/results/gpu_studies.json; without a GPU it measures nothing. `--device cpu --quick` tries it in
the studies' quick form; what is quick is not written.
"""

import argparse
import json
import math
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch

from scalinglab import pipeline
from scalinglab.stages.variant import run_variant
from scalinglab.theory.comparison import compare
from scalinglab.theory.protocol import Protocol, protocol_of, study_of

TARGET = Path(__file__).parent / "results/gpu_studies.json"
TEN = tuple(range(1, 11))


@dataclass(frozen=True)
class Case:
    """What is not as the study's file has it; None: as it has it."""

    size: str | None = None
    tokens: str | None = None
    seeds: tuple[int, ...] | None = None
    rates: tuple[float, ...] | None = None

    def of(self, protocol: Protocol) -> Protocol:
        return replace(protocol, **{key: value for key, value in asdict(self).items() if value is not None})


CASES = {
    "precision": Case(seeds=TEN),
    "attention_scale": Case(size="d128", tokens="1200k", rates=(0.25, 0.5, 1.0, 2.0)),
    "positions": Case(size="d128", tokens="1200k", rates=(0.25, 0.5, 1.0, 2.0)),
    "norms": Case(size="d128", tokens="1200k", rates=(0.125, 0.25, 0.5, 1.0, 2.0)),
}
Device = Literal["cuda", "cpu"]
Job = tuple[Protocol, str, Device]  # a study, a variant of it, and the device


def train(job: Job) -> pd.DataFrame:
    """The runs of a variant, with its study's measures: the sweep where there are several rates, then all seeds."""
    protocol, variant, device = job
    seeds, rates = ("-".join(f"{one:g}" for one in some) for some in (protocol.seeds, protocol.rates))
    study = study_of(pipeline.all_params(), protocol, variant)
    study = replace(study, execution=replace(study.execution, device=device))
    rows = run_variant(study, protocol, f"gpu-{protocol.name}-{variant}-{seeds}-{rates}")
    return pd.DataFrame({"variant": variant, **row} for row in rows)


def measure(protocol: Protocol, pool: ProcessPoolExecutor, device: Device) -> dict[str, Any]:
    """All runs of a study and its verdicts: the first seed of each variant with its sweep, then the others at once."""
    first, *others = protocol.seeds
    found = list(
        pool.map(train, [(replace(protocol, seeds=(first,)), variant, device) for variant in protocol.variants])
    )
    best = {str(table["variant"].iloc[-1]): float(table["factor"].iloc[-1]) for table in found}
    more = [(replace(protocol, seeds=(seed,), rates=(best[one],)), one, device) for one in best for seed in others]
    everything = pd.concat([*found, *pool.map(train, more)], ignore_index=True)
    runs, sweep = (everything[everything["role"] == role] for role in ("run", "sweep"))
    losses = {str(variant): list(table["loss"]) for variant, table in runs.groupby("variant", sort=False)}
    verdicts = [asdict(one) for one in compare(losses, protocol.reference, protocol.margin)]
    means = runs.groupby("variant", sort=False).mean(numeric_only=True).reset_index()
    kept = ("size", "tokens", "seeds", "rates", "margin", "reference")
    return {
        **{key: getattr(protocol, key) for key in kept},
        "sweep": sweep[["variant", "factor", "loss"]].to_dict("records"),
        "means": means.drop(columns="seed").to_dict("records"),
        "losses": losses,
        "verdicts": verdicts,
    }


def finite(value: Any) -> Any:
    """The same with None for numbers that are none: JSON has no name for them."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def main(names: Sequence[str], device: Device, quick: bool, workers: int) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device is visible: nothing was measured")
        return
    found = json.loads(TARGET.read_text(encoding="utf-8")) if TARGET.exists() else {}
    for name in names:
        protocol = CASES[name].of(protocol_of(pipeline.all_params(), name))
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            one = measure(protocol.shortened() if quick else protocol, pool, device)
        print(name, pd.DataFrame(one["means"]).to_string(), pd.DataFrame(one["verdicts"]).to_string(), sep="\n")
        if device == "cuda" and not quick:
            found[name] = finite({"device": torch.cuda.get_device_name(), "torch": torch.__version__, **one})
            TARGET.write_text(json.dumps(found, indent=2, allow_nan=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", nargs="*", default=list(CASES))
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--workers", type=int, default=12, help="runs at once")
    arguments = parser.parse_args()
    main(arguments.studies, arguments.device, arguments.quick, arguments.workers)
