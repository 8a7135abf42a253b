"""Does recall separate softmax from linear attention, and from how many pairs on (Arora et al. 2023)?

Trains decoders of width 32 on multi-query recall alone, 8 and 32 pairs, with either kind of attention. Rows with a half
and a quarter of the pairs are mixed in: from the longest alone, softmax attention seldom leaves its plateau. Each kind
gets its best rate of several, for what a kind cannot do is the question, not what one rate does to it (a rate of 0.02,
which suits text at this width, keeps softmax on the plateau too). Prints a table and writes
benchmarks/results/recall_attention.json.
"""

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from scalinglab import config
from scalinglab.config import Study
from scalinglab.corpus.packing import answer_targets
from scalinglab.evaluation.answers import answer
from scalinglab.model.decoder import Decoder, initialise
from scalinglab.model.shape import shape_of
from scalinglab.skills.multi_query import MultiQuery
from scalinglab.training.data import Batches
from scalinglab.training.loop import Stretch, train
from scalinglab.training.optimiser import AdamW
from scalinglab.training.schedule import run_rates, steps_of

ROOT = Path(__file__).parent.parent
SYMBOLS = 64  # keys, and values
SEQ_LEN = {8: 64, 32: 136}  # pairs -> context: the pairs, and as many slots for questions


def measure(study: Study, pairs: int, attention: str, seed: int, rate: float, tokens: int) -> dict[str, Any]:
    """Accuracy on held-out documents after training on `tokens` at a peak rate; NaN where the run diverged."""
    torch.set_num_threads(1)
    kinds = [MultiQuery(pairs=n, keys=SYMBOLS, values=SYMBOLS) for n in (pairs // 4, pairs // 2, pairs)]
    whole, length = kinds[-1], SEQ_LEN[pairs] + 1
    options = replace(study.model, attention=attention)
    model = Decoder(shape_of("d32", options, whole.symbols, length - 1), options)
    initialise(model, seed)
    n_rows = tokens // (length - 1) + 64
    rows, scored = np.empty((n_rows, length), np.uint16), np.empty((n_rows, length - 1), bool)
    for i, kind in enumerate(kinds):
        rows[i :: len(kinds)] = kind.documents("train", seed, 0, len(rows[i :: len(kinds)]), length)
        scored[i :: len(kinds)] = answer_targets(kind, rows[i :: len(kinds)])
    training = replace(study.training, batch_tokens=2048 // (length - 1) * (length - 1), embedding_rate=0.0)
    batches = Batches(rows, scored, training.batch_tokens, repeat=1)
    steps = steps_of(tokens, training.batch_tokens)
    rates_of = run_rates(rate, steps, training)
    finished = train(model, AdamW(model, training), batches, Stretch(0, steps), rates_of, training, study.execution,
                     lambda step, point: None, 0)  # fmt: skip
    held_out = whole.documents("heldout", 0, 0, 256, length)
    accuracy = float(answer(model, whole, held_out, 0, 64).correct_NA.mean()) if finished else float("nan")
    print(f"{attention}, {pairs} pairs, seed {seed}, rate {rate:g}: {accuracy:.3f}", flush=True)
    return {"pairs": pairs, "attention": attention, "seed": seed, "rate": rate, "accuracy": round(accuracy, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=8_000_000)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rates", type=float, nargs="*", default=[0.0025, 0.005, 0.01, 0.02])
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    study = config.load(ROOT / "presets/laptop.yaml")
    jobs = [
        (study, pairs, attention, seed, rate, arguments.tokens)
        for pairs in SEQ_LEN
        for attention in ("causal", "linear")
        for seed in range(arguments.seeds)
        for rate in arguments.rates
    ]
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with ProcessPoolExecutor(arguments.workers) as pool:
        table = pd.DataFrame(pool.map(measure, *zip(*jobs, strict=True)))
    best = table.groupby(["pairs", "attention", "seed"])["accuracy"].max()  # of the rates
    print(best.unstack("seed").to_string())
    target = Path(__file__).parent / "results/recall_attention.json"
    record = {"width": 32, "symbols": SYMBOLS, "tokens": arguments.tokens, "table": table.to_dict("records")}
    target.write_text(json.dumps(record, indent=1).replace("NaN", "null") + "\n")


if __name__ == "__main__":
    main()
