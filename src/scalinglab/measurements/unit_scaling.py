"""What parts/unit_scaling.py measured, put together: which rule of learning rates to take, drawn and said."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scalinglab.config import Study
from scalinglab.figures import forest
from scalinglab.figures.style import new_figure, ordered_style
from scalinglab.measurements.powers import power
from scalinglab.parts import Tables
from scalinglab.parts.unit_scaling import Settings
from scalinglab.scaling_rules import transfer
from scalinglab.scaling_rules.coordinates import FEATURES
from scalinglab.scaling_rules.scales import KINDS
from scalinglab.theory.tables import comparisons

__all__ = ["Settings", "combine", "figures", "findings"]

COLOUR = {"standard": "#b2182b", "mup": "#2166ac", "u-mup": "#1a9850"}
MARKER = {"standard": "s", "mup": "o", "u-mup": "D"}
# Powers of width of a feature's change: a step of one rate moves every entry of a product by its width; u-muP divides
# the embedding's rate by the root of the width.
THEORY = {
    "standard": {"embedding": "0", "attention scores": "> 0", "block": "> 0", "logits": "1"},
    "mup": dict.fromkeys(FEATURES, "0"),
    "u-mup": {**dict.fromkeys(FEATURES, "0"), "embedding": "-1/2"},
}


def combine(settings: Settings, study: Study, found: Mapping[str, Tables]) -> Tables:
    """The tables of all families, `regrets` and `verdicts` over them."""
    tables: Tables = {
        name: [row for family in transfer.FAMILIES for row in found[family].get(name, [])]
        for name in ("coordinates", "basin", "optima", "rules", "scales", "fp8")
    }
    rules = pd.DataFrame(tables["rules"])
    judged = {"margin": settings.margin}
    return tables | {
        "regrets": transfer.regrets(pd.DataFrame(tables["basin"]), rules).to_dict("records"),
        "verdicts": [judged | asdict(one) for one in transfer.judge(rules, settings.margin)],
    }


def figures(tables: dict[str, pd.DataFrame]) -> dict[str, Figure]:
    """`forest`, `coordinates`, `basin` and `scales`."""
    return {
        "forest": _forest(tables),
        "coordinates": _coordinates(tables["coordinates"]),
        "basin": _basin(tables["basin"], tables["optima"], tables["rules"]),
        "scales": _scales(tables["scales"]),
    }


def _forest(tables: dict[str, pd.DataFrame]) -> Figure:
    """Rules against the reference, by the mean loss over sizes."""
    losses = {rule: means.tolist() for rule, means in transfer.means_by_seed(tables["rules"]).items()}
    found, margin = comparisons(tables["verdicts"]), tables["verdicts"]["margin"].iloc[0]
    return forest.draw(found, losses, transfer.LAW, margin, "nats a token, mean over sizes")


def _coordinates(table: pd.DataFrame) -> Figure:
    """A panel a feature: its change at the last step, and in the first one, against width."""
    figure, axes = new_figure(len(FEATURES), width=2.9, height=3.1)
    steps = sorted({1, int(table["step"].max())})
    for axis, feature in zip(axes, FEATURES, strict=True):
        for parametrisation, colour in COLOUR.items():
            for step in steps:
                line = _of(table, parametrisation=parametrisation, feature=feature, step=step)
                line = line[line["change"] > 0]  # a head of zeros leaves all below it as they were in the first step
                last = step == steps[-1]
                axis.plot(
                    line["width"], line["change"], marker=MARKER[parametrisation], color=colour, markersize=4,
                    linewidth=1.1, linestyle="-" if last else ":", label=f"{parametrisation}, step {step}",
                )  # fmt: skip
        axis.set_yscale("log")
        _widths(axis, sorted(table["width"].unique()))
        axis.set_title(feature, fontsize=9)
    axes[0].set_ylabel("RMS of the change since step 0")
    handles, labels = axes[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=7)
    return figure


def _basin(basin: pd.DataFrame, optima: pd.DataFrame, rules: pd.DataFrame) -> Figure:
    """A panel a parametrisation: losses over rates by width, bottoms as crosses; rings where the law would go."""
    figure, axes = new_figure(3, width=3.5, height=3.0, rows=math.ceil(len(transfer.FAMILIES) / 3))
    styles = ordered_style(list(basin["size"].unique()))
    for axis in axes[len(transfer.FAMILIES) :]:
        axis.set_axis_off()
    for axis, parametrisation in zip(axes, transfer.FAMILIES, strict=False):
        for size, line in _of(basin, parametrisation=parametrisation).groupby("size", sort=False):
            axis.plot(line["rate"], line["loss"], markersize=4, linewidth=1.1, label=str(size), **styles[size])
        best = _of(optima, parametrisation=parametrisation)
        axis.plot(best["rate"], best["loss"], "kx", markersize=7, label="bottom")
        if (rule := f"{parametrisation}, law") in transfer.RULES:
            law = _of(rules, rule=rule, seed=0)
            axis.plot(law["rate"], law["loss"], "o", markerfacecolor="none", color="black", markersize=8,
                      label="at the law's rate")  # fmt: skip
        axis.set_xscale("log", base=2)
        ticks = sorted(_of(basin, parametrisation=parametrisation)["rate"].unique())
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=7)
        axis.set_xlabel("peak learning rate")
        axis.set_title(parametrisation, fontsize=9)
        axis.set_ylabel("held-out loss (nats a token)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(styles) + 2, fontsize=7)
    shown = pd.concat([basin["loss"], rules["loss"]])
    low, high = shown.min(), shown.quantile(0.95)
    for axis in axes:
        axis.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    return figure


def _scales(table: pd.DataFrame) -> Figure:
    """A panel a kind of tensor: the size of each, early and late, one column a parametrisation."""
    figure, axes = new_figure(len(KINDS), width=2.7, height=3.2)
    for axis, kind in zip(axes, KINDS, strict=True):
        for place, (parametrisation, colour) in enumerate(COLOUR.items()):
            for shift, when in ((-0.17, "start"), (0.17, "end")):
                sizes = _log2(_of(table, parametrisation=parametrisation, kind=kind, when=when))
                axis.plot(
                    [place + shift] * len(sizes), sizes, "_", color=colour, markersize=9, alpha=0.8,
                    markeredgewidth=2.2 if when == "end" else 1.0,
                )  # fmt: skip
        axis.axhline(0, color="grey", linewidth=0.7, linestyle="--")
        axis.set_xticks(range(len(COLOUR)), COLOUR)
        axis.set_xlim(-0.5, len(COLOUR) - 0.5)
        axis.set_title(kind, fontsize=9)
        axis.set_xlabel("thin: start, thick: end", fontsize=8)
    axes[0].set_ylabel("log2 of the root mean square")
    return figure


def _widths(axis: Axes, widths: list[int]) -> None:
    axis.set_xscale("log", base=2)
    axis.set_xticks(widths, [str(width) for width in widths])
    axis.minorticks_off()
    axis.set_xlabel("width")


def _of(table: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """The rows with these values."""
    return table[np.logical_and.reduce([table[column] == value for column, value in values.items()])]


def _log2(table: pd.DataFrame) -> pd.Series:
    return np.log2(table.loc[table["rms"] > 0, "rms"])


def findings(tables: dict[str, pd.DataFrame]) -> str:
    coordinates, optima = tables["coordinates"], tables["optima"]
    last, widths = int(coordinates["step"].max()), sorted(coordinates["width"].unique())
    fast = tables["rules"]["embedding rate"].max()
    return f"""**In short.** {_decision(tables)} On the default study's mixture of text and skills
`benchmarks/ablation.py` has u-muP beside the law (in the README).

**The rules.** In the *standard* form, weights begin with variance 1 / (3 width), and one rate moves all:
it must fall with width, by a *law* (a power of width that is fitted to short sweeps), or is *one rate* for
all that was tuned at one width. *muP* (Yang et al. 2022) divides rates and scales of wide layers by their width beyond
a base, so that one rate may serve all; *u-muP* (Blake et al. 2024) writes the same so that all tensors begin at unit
scale. *Fast embedding*: its peak rate is {fast:g} at every width, whatever that of all else; without, it is that of all
else. u-mup moves its embedding faster too, and what that alone is worth is not a matter of width.

**Which rule.**

![Differences of rules](forest.png)

{_rules_table(tables)}

Losses are held-out nats a token, means over {tables["rules"]["seed"].nunique() - 1} seeds and these sizes;
differences from {transfer.LAW} are paired by seeds that chose no rate. A law is fitted to the sweeps of these very
sizes. Regret: on the sweep's seed, the loss with the rule's rate minus the lowest that the same parametrisation reached
at that size with any rate.

![Loss over rates](basin.png)

**How far the best rate moves.** Doublings of the bottom of the bowl per doubling of width; 0 is a perfect transfer.

| parametrisation | best rates, {", ".join(optima["size"].unique())} | moves | lowest losses |
|---|---|---|---|
{_optima_rows(optima)}

**Coordinate check.** Powers of width with which the change since step 0 grows after {last} steps at one rate, without
warmup, over widths {", ".join(map(str, widths))}; in theory in brackets (of the standard form: for single steps).
What grows asks for lower rates in wide models; what shrinks learns too slowly there.

| parametrisation | {" | ".join(FEATURES)} |
|---|{"---|" * len(FEATURES)}
{_power_rows(coordinates)}

![Change against width](coordinates.png)

**Scales.** By how many powers of two root mean squares of tensors differ, largest over smallest, in one model; the
median in brackets, as a power of two.

| parametrisation | when | {" | ".join(KINDS)} |
|---|---|{"---|" * len(KINDS)}
{_scale_rows(tables["scales"])}

![Scales of tensors](scales.png)

**FP8, simulated.** Operands of every product with a block's weights are rounded to e4m3, on the way back gradients to
e5m2; sums, embedding, scores and head stay as they are, and nothing is rescaled but the gradients of the standard form,
by one constant where it says so. Shares of a step at the end that become zero, and that are cut off at the largest
number. Losses are of one run each, of the seed that chose the rate, and have no intervals: small
differences may be of that seed alone.{_without_mup(tables["fp8"])}

| parametrisation | gradients times | loss fp32 | loss FP8 | activations to zero, cut | gradients | weights |
|---|---|---|---|---|---|---|
{_fp8_rows(tables["fp8"])}
"""


def _without_mup(fp8: pd.DataFrame) -> str:
    return "" if "mup" in set(fp8["parametrisation"]) else " muP is the standard form at this width."


def _decision(tables: dict[str, pd.DataFrame]) -> str:
    """What to take for the grid, from the verdicts."""
    found = {row["variant"]: row for row in tables["verdicts"].to_dict("records")}
    chosen = transfer.winner(comparisons(tables["verdicts"]))
    regret = tables["regrets"].groupby("rule")["regret"].mean()
    if chosen == transfer.LAW:
        said = "; ".join(f"{name} {row['difference']:+.3f} ({row['verdict']})" for name, row in found.items())
        return (
            f"Keep `{transfer.LAW}` for the grid: no other rule is certainly better, by differences of the mean loss: "
            f"{said}. Its mean regret is {regret[transfer.LAW]:.3f}."
        )
    best = found[chosen]
    kept = transfer.follows_width(chosen)
    verdict = "Keep a law of rates, and change what it goes with" if kept else "No law of rates"
    return (
        f"{verdict}: `{chosen}` is certainly better, by {-best['difference']:.3f} nats "
        f"(95 % interval {-best['high']:.3f} to {-best['low']:.3f}) in the mean over sizes. Its mean regret is "
        f"{regret[chosen]:.3f}, the law's {regret[transfer.LAW]:.3f}: what it gains is "
        f"{'more the transfer' if _by_transfer(tables, chosen) else 'more the lowest loss itself than the transfer'}. "
        f"{_proposal(_of(tables['rules'], rule=chosen).iloc[0])}"
    )


def _proposal(row: pd.Series) -> str:
    """What a study would have to say to follow a rule."""
    said = [f"`model.parametrisation: {row['parametrisation'].removesuffix(transfer.FAST)}`"]
    said += [f"`training.embedding_rate: {row['embedding rate']:g}`"]
    if not transfer.follows_width(row["rule"]):
        said += [f"`tune.rates: [{row['rate']:g}]`"]
    return f"For a study that means {', '.join(said)}."


def _by_transfer(tables: dict[str, pd.DataFrame], chosen: str) -> bool:
    """Whether less regret makes up more than half of what a rule gains on the law."""
    means = tables["regrets"].groupby("rule")[["loss", "regret"]].mean()
    gained, spared = means.loc[transfer.LAW] - means.loc[chosen]
    return bool(spared > gained / 2)


def _rules_table(tables: dict[str, pd.DataFrame]) -> str:
    rules, regrets = tables["rules"], tables["regrets"]
    sizes = list(rules["size"].unique())
    verdicts = tables["verdicts"].set_index("variant")
    lines = [
        f"| rule | rates | loss | difference | 95 % interval | verdict | regret at {' | at '.join(sizes)} |",
        "|---|---|---|---|---|---|" + "---|" * len(sizes),
    ]
    for rule in transfer.RULES:
        own = _of(regrets, rule=rule).set_index("size").loc[sizes]
        rates = [f"{rate:.3g}" for rate in own["rate"]]
        said = "| | | "
        if rule in verdicts.index:
            row = verdicts.loc[rule]
            said = f"| {row['difference']:+.3f} | {row['low']:+.3f} to {row['high']:+.3f} | {row['verdict']} "
        losses = _of(rules, rule=rule)
        loss = losses.loc[losses["seed"] != 0, "loss"].mean()
        regret = " | ".join(f"{value:.3f}" for value in own["regret"])
        lines.append(f"| {rule} | {', '.join(dict.fromkeys(rates))} | {loss:.3f} {said}| {regret} |")
    return "\n".join(lines)


def _optima_rows(optima: pd.DataFrame) -> str:
    lines = []
    for parametrisation in transfer.FAMILIES:
        own = _of(optima, parametrisation=parametrisation)
        rates = ", ".join(f"{row['rate']:.3g}{'' if row['inside'] else ' (edge)'}" for _, row in own.iterrows())
        losses = ", ".join(f"{loss:.3f}" for loss in own["loss"])
        lines.append(f"| {parametrisation} | {rates} | {transfer.shift(own):+.2f} | {losses} |")
    return "\n".join(lines)


def _power_rows(coordinates: pd.DataFrame) -> str:
    lines = []
    for parametrisation in COLOUR:
        cells = []
        for feature in FEATURES:
            line = _of(coordinates, parametrisation=parametrisation, feature=feature, step=coordinates["step"].max())
            cells.append(f"{power(line['width'], line['change']):+.2f} ({THEORY[parametrisation][feature]})")
        lines.append(f"| {parametrisation} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _scale_rows(scales: pd.DataFrame) -> str:
    lines = []
    for parametrisation in COLOUR:
        for when in ("start", "end"):
            cells = []
            for kind in KINDS:
                sizes = _log2(_of(scales, parametrisation=parametrisation, when=when, kind=kind))
                cells.append(f"{sizes.max() - sizes.min():.1f} ({sizes.median():+.1f})")
            lines.append(f"| {parametrisation} | {when} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _fp8_rows(table: pd.DataFrame) -> str:
    return "\n".join(
        f"| {row['parametrisation']} | {row['gradient scale']:g} | {row['fp32']:.3f} | {row['fp8']:.3f} | "
        + " | ".join(
            f"{row[f'{kind} flushed']:.2%}, {row[f'{kind} saturated']:.2%}"
            for kind in ("activations", "gradients", "weights")
        )
        + " |"
        for _, row in table.iterrows()
    )
