"""How large the models of a controlled study are, and what a token costs them, by today's preset and code."""

import json
from dataclasses import replace
from pathlib import Path

from scalinglab import config
from scalinglab.model.counts import Counts, count
from scalinglab.model.shape import shape_of


def counts(study: dict, root: Path) -> dict[str, Counts]:
    """Of each variant of a published study, from its preset; empty where that, or its vocabulary, is not there."""
    preset = root / f"presets/{study['study']}.yaml"
    manifest = root / f"results/{study['study']}/encode/manifest.json"
    if not preset.exists() or not manifest.exists():
        return {}
    vocabulary = json.loads(manifest.read_text(encoding="utf-8"))["vocab_size"]
    preset_study, found = config.load(preset), {}
    for variant, changes in study["variants"].items():
        options = replace(preset_study.model, **(study["base"].get("model", {}) | changes.get("model", {})))
        shape = shape_of(study["size"], options, vocabulary, preset_study.mixture.seq_len)
        found[variant] = count(shape, options)
    return found


def in_words(found: dict[str, Counts]) -> list[str]:
    """A sentence where all variants are alike, else a table; nothing where they are not known."""
    sizes = {(one.params_total, one.flops_per_token) for one in found.values()}
    if not sizes:
        return []
    if len(sizes) == 1:
        ((parameters, flops),) = sizes
        return ["", f"Models: {parameters:,} parameters, {flops / 1e6:.2f} MFLOPs a token to train, in all variants."]
    rows = [f"| {name} | {one.params_total:,} | {one.flops_per_token / 1e6:.2f} |" for name, one in found.items()]
    return ["", "| variant | parameters | MFLOPs a token to train |", "|---|---|---|", *rows]
