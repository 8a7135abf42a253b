"""What pages of docs/theory/ say of a GPU, from benchmarks/results/gpu_*.json."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from scalinglab.measurements import activation_memory, wording
from scalinglab.measurements.attention_cost import KEPT
from scalinglab.theory.comparison import compare
from scalinglab.theory.protocol import RUN_COLUMNS


def sections(root: Path) -> dict[str, str]:
    """Name of a page -> what to add to it; of what was measured only."""
    pages: dict[str, tuple[str, Callable[[dict[str, Any]], list[str]]]] = {
        "attention_cost": ("gpu_cost", _attention),
        "activation_memory": ("gpu_cost", _memory),
        "number_formats": ("gpu_formats", _gradients),
        "unit_scaling": ("gpu_formats", _eight_bits),
    }
    found: dict[str, str] = {}
    for page, (benchmark, tell) in pages.items():
        if measured := _read(root, benchmark):
            head = f"**On a GPU** ({measured['device']}, benchmarks/{benchmark}.py)."
            found[page] = "\n".join(["", head, *tell(measured), ""])
    studies = _read(root, "gpu_studies")
    return found | {name: "\n".join(["", *_study(one), ""]) for name, one in studies.items()}


def _read(root: Path, benchmark: str) -> dict[str, Any]:
    path = root / f"benchmarks/results/{benchmark}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _table(head: str, rows: list[str]) -> list[str]:
    return ["", head, "|---" * (head.count("|") - 1) + "|", *rows]


def _attention(measured: dict[str, Any]) -> list[str]:
    cost = pd.DataFrame(measured["cost"])
    formula = cost[cost["kind"] == "full, formula"].set_index("n")
    fused = cost[cost["kind"] == "full, fused"].set_index("n")
    both, longest = int(formula.index.max()), int(cost["n"].max())
    at = {n: cost[cost["n"] == n].set_index("kind") for n in (both, longest)}
    rows = []
    for one in measured["exponents"]:
        short, far = at[both].loc[one["kind"]], at[longest]
        there = f"{far.loc[one['kind'], 'seconds'] * 1e3:.1f}" if one["kind"] in far.index else ""
        rows.append(
            f"| {one['kind']} | {one['order']} | {one['time']:.2f} ({one['time in theory']:g}), from {one['from']:,} | "
            f"{one['memory']:.2f} ({KEPT[one['kind']]:g}) | {short['seconds'] * 1e3:.1f} | "
            f"{short['kept bytes'] / 1e6:,.0f} | {there} |"
        )
    numbers = ["seconds", "kept bytes", "error"]
    fast, plain = fused.loc[both, numbers], formula.loc[both, numbers]
    head = f"| kind | order | time ~ n to the | memory ~ n to the | ms at n = {both:,} | MB there | ms at {longest:,} |"
    start = formula["seconds"].iloc[0]
    flat = int(formula.index[formula["seconds"] < 2 * start].max())
    return [
        f"{measured['heads']} heads of {cost['d'].iloc[0]} channels in bf16; memory: the most that was allocated at "
        f"once. Up to n = {flat:,} the formula takes less than twice its {start * 1e3:.1f} ms at n = "
        f"{formula.index[0]}: that is what starting the kernels takes; powers are of longer contexts. At n = {both:,} "
        f"the fused kernel takes {fast['seconds'] / plain['seconds']:.3f} of the formula's time and "
        f"{fast['kept bytes'] / plain['kept bytes']:.4f} of its memory; they are {fast['error']:.2%} and "
        f"{plain['error']:.2%} off fp32. Times are medians; those above 0.3 s are of one call.",
        "",
        "![Cost of attention on a GPU](../../benchmarks/results/gpu_cost.png)",
        *_table(head, rows),
    ]


def _memory(measured: dict[str, Any]) -> list[str]:
    table = pd.DataFrame(measured["memory"])
    depth = int(table["layers"].max())
    deepest = table[table["layers"] == depth].set_index("policy")
    told = {str(policy): activation_memory.predicted(table, str(policy), depth) for policy in deepest.index}
    rows = [
        f"| {policy} | {row['peak bytes'] / 1e9:.2f} | {told[str(policy)] / 1e9:.2f} |"
        for policy, row in deepest.iterrows()
    ]
    said = (
        f"{depth} layers of {measured['size']} in fp32, {measured['rows']} windows of {measured['seq_len']} tokens, by "
        f"torch's count of the memory of the device. A layer keeps {activation_memory.kept_ratio(table):.0f} times its "
        "input there."
    )
    return [said, *_table("| computed again | GB | predicted |", rows)]


def _gradients(measured: dict[str, Any]) -> list[str]:
    rows = [
        f"| {row['format']} | {row['scale']:g} | {row['emulated off']:.3%} | {row['own off']:.3%} | "
        f"{row['apart off']:.3%} | {row['emulated zero']:.3%} | {row['own zero']:.3%} |"
        for row in measured["gradients"]
    ]
    parts = [row["apart off"] / row["own off"] for row in measured["gradients"] if row["format"] != "fp32"]
    return [
        "The gradients of one batch and a trained model, emulated on a CPU and in the device's own formats. Off: their "
        "error, beside fp32 on the CPU. Apart: the distance of the two from each other, which is "
        f"{min(parts):.1f} to {max(parts):.1f} times what the device's own are off.",
        *_table("| format | loss scale | emulated: off | own: off | apart | emulated: zero | own: zero |", rows),
    ]


def _eight_bits(measured: dict[str, Any]) -> list[str]:
    rows = [
        f"| {row['n']:,} | {row['simulated off']:.3%} | {row['own off']:.3%} | {row['apart']:.3%} | "
        f"{row['only rounding the result']:.3%} | {row['bf16 off']:.3%} | "
        f"{row['bf16 seconds'] / row['e4m3 seconds']:.2f} | {row['fp32 seconds'] / row['e4m3 seconds']:.1f} |"
        for row in measured["products"]
    ]
    last = measured["products"][-1]
    head = "| n | simulated: off | own: off | apart | bf16 of the result | bf16: off | faster than bf16 | than fp32 |"
    return [
        "Is the simulation the real product? n x n normal numbers in e4m3, rounded and multiplied in fp32, as above, "
        "and by the device's own product of 8-bit floats, whose result is bf16. The two are apart by "
        f"{last['apart'] / last['only rounding the result']:.2f} times what rounding the result to bf16 does.",
        *_table(head, rows),
    ]


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _study(one: dict[str, Any]) -> list[str]:
    losses = {name: list(pd.Series(values, dtype=float)) for name, values in one["losses"].items()}
    verdicts = pd.DataFrame([asdict(found) for found in compare(losses, one["reference"], one["margin"])])
    whole = {name for name, values in one["losses"].items() if None not in values}
    by_name = {row["variant"]: row for row in verdicts.to_dict("records")}
    measures = [key for key in one["means"][0] if key not in (*RUN_COLUMNS, "variant")]
    rows = [
        f"| {row['variant']} | {wording.mean(pd.Series(losses[row['variant']]))} | "
        f"{wording.verdict(by_name[row['variant']]) if row['variant'] in by_name else 'reference'} | "
        f"{wording.chosen(row['factor'], min(one['rates']), max(one['rates']))} | "
        + "".join(f"{_shown(row[key]) if row['variant'] in whole else ''} | " for key in measures).rstrip()
        for row in one["means"]
    ]
    head = f"| variant | loss | difference, 95 % interval, verdict | rate | {' | '.join(measures)} |"
    said = (
        f"**On a GPU** ({one['device']}, benchmarks/gpu_studies.py): {one['size']}, {one['tokens']} tokens a run, "
        f"{len(one['seeds'])} paired seeds, number formats the device's own, rates "
        f"{', '.join(f'{rate:g}' for rate in one['rates'])} times the study's. "
    )
    words = wording.in_words(verdicts, one["reference"], one["margin"])
    return [said + words, *_table(head, rows)]
