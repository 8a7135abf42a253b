"""What the trunk and anneal stages share: one stretch from a state on disk to the next, and the files beside it."""

import time
from collections.abc import Callable
from pathlib import Path

import torch

from scalinglab import provenance
from scalinglab.config import Study
from scalinglab.errors import UserError
from scalinglab.files import read_json, write_csv, write_json
from scalinglab.model.counts import cell_flops, count
from scalinglab.model.decoder import Decoder
from scalinglab.model.weights import load_tensors, save_tensors
from scalinglab.paths import Paths
from scalinglab.stages.models import build_model, pick_device
from scalinglab.stages.stretches import Trained, open_batches, train_stretch
from scalinglab.training.loop import Stretch
from scalinglab.training.optimiser import AdamW
from scalinglab.training.schedule import RateLaw, Rates

CURVE = ("step", "tokens", "flops", "train/loss", "train/grad_norm", "lr")


def run_stretch(
    study: Study,
    size: str,
    name: str,
    source: Path,
    target: Path,
    stretch: Stretch,
    rates_of: Callable[[int], Rates],
    keep_moments: bool,
) -> None:
    """Continue the state in `source` over a stretch and write `target`, its loss curve and its provenance beside it.

    A diverged run is recorded as such and passes on without training: its cells are reported, and the DAG goes on.
    """
    torch.manual_seed(study.seed)
    device = pick_device(study)
    model = build_model(study, size).to(device)
    optimiser = AdamW(model, study.training)
    tensors, metadata = load_tensors(source)
    if metadata["step"] != stretch.first:
        raise UserError(f"{source} stands at step {metadata['step']}, not {stretch.first}; delete it and run again")
    optimiser.restore(tensors, stretch.first)
    started = time.monotonic()
    if metadata["diverged"]:
        done = Trained([], diverged=True, start=stretch.last)
    else:
        done = train_stretch(study, name, model, optimiser, open_batches(study), stretch, rates_of)
    if done.diverged:
        print(f"{name}: diverged; recorded as such")
    _write(study, target, model, optimiser, stretch, done, keep_moments)
    seconds = time.monotonic() - started
    record = provenance.describe(study, str(device), seconds, (stretch.last - done.start) * study.training.batch_tokens)
    write_json(target.with_suffix(".provenance.json"), record)


def read_rate_law(study: Study) -> RateLaw:
    """The law that the rates stage fitted."""
    return RateLaw(**read_json(Paths(study.study).rate_law))


def _write(
    study: Study,
    target: Path,
    model: Decoder,
    optimiser: AdamW,
    stretch: Stretch,
    done: Trained,
    keep_moments: bool,
) -> None:
    tensors = optimiser.state_tensors()
    if not keep_moments:
        tensors = {name: tensor for name, tensor in tensors.items() if name.startswith("model.")}
    batch_tokens = study.training.batch_tokens
    counts = count(model.shape, study.model)
    rows = []
    for p in done.points:
        tokens = p.step * batch_tokens
        flops = cell_flops(counts, tokens)
        row = {"step": p.step, "tokens": tokens, "flops": flops, "train/loss": p.loss}
        rows.append({**row, "train/grad_norm": p.grad_norm, "lr": p.lr})
    write_csv(target.with_suffix(".csv"), rows, CURVE)
    loss = done.points[-1].loss if done.points else None
    state = {
        "step": stretch.last,
        "tokens": stretch.last * batch_tokens,
        "diverged": done.diverged,
        "train/loss": loss,
    }
    save_tensors(target, tensors, state)
