"""evaluate@cell: held-out loss of a cell with its counts, in every convention, and what it learns from text in context.

The cells of the largest budgets wait for the forecast of them, and record which one they were measured after.
"""

from scalinglab.config import Study, seed_of, width_of
from scalinglab.evaluation.in_context import TEXT_COLUMNS, by_position, on_repeats, own_half, with_foreign_half
from scalinglab.evaluation.rows import Row
from scalinglab.evaluation.text import bits_per_byte, token_losses
from scalinglab.files import read_json, write_csv, write_json
from scalinglab.model.counts import cell_flops, count
from scalinglab.model.weights import load_model_weights
from scalinglab.paths import Paths
from scalinglab.shards import open_shard
from scalinglab.stages.models import build_model, pick_device


def run(study: Study, size: str, budget: str, after: str) -> None:
    paths = Paths(study.study)
    device = pick_device(study)
    model = build_model(study, size)
    state = load_model_weights(model, paths.cell("anneal", size, budget, ".safetensors"))
    manifest = read_json(paths.manifest)
    nats = bpb = float("nan")
    in_context: list[Row] = []
    if not state["diverged"]:
        rows = open_shard(paths.of("encode", ""), "validation.npy")
        losses = token_losses(model.to(device), rows, study.evaluation.batch_rows)
        nats = float(losses.mean())
        bpb = bits_per_byte(float(losses.sum()), manifest["validation_bytes"])
        text_tokens = range(manifest["skill_offset"] + study.tokenizer.skill_symbols, manifest["vocab_size"])
        foreign = token_losses(model, with_foreign_half(rows), study.evaluation.batch_rows)
        in_context = [*by_position(losses), *own_half(losses, foreign, rows)]
        in_context += on_repeats(model, study.mixture.seq_len, text_tokens, study.evaluation.batch_rows)
    path = paths.evaluation(after, size, budget).with_suffix(".text.csv")
    write_csv(path, [{"size": size, "budget": budget, **row} for row in in_context], ("size", "budget", *TEXT_COLUMNS))
    counts = count(model.shape, study.model)
    write_json(
        paths.evaluation(after, size, budget),
        {
            "size": size,
            "budget": budget,
            "width": width_of(size),
            "seed": study.seed + seed_of(size),
            "n_layer": model.shape.n_layer,
            "tokens": state["tokens"],
            "flops": cell_flops(counts, state["tokens"]),
            **counts.as_dict(),
            "diverged": state["diverged"],
            "train/loss": state["train/loss"],
            "val/loss": nats,
            "val/bpb": bpb,
            "forecast": read_json(paths.of("forecast", "report.json"))["digest"] if after == "forecast" else None,
        },
    )
