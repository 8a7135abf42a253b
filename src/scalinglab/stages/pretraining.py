"""What the trunk and anneal stages share: run one stretch with checkpoints and write its files."""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from scalinglab import pipeline, provenance
from scalinglab.config import Study
from scalinglab.errors import UserError
from scalinglab.files import digest, read_json, sha256, write_csv, write_json
from scalinglab.model.counts import cell_flops, count
from scalinglab.model.decoder import Decoder
from scalinglab.model.weights import load_tensors, save_tensors
from scalinglab.paths import Paths
from scalinglab.reporter import Reporter
from scalinglab.stages.models import build_model, pick_device
from scalinglab.training.data import open_batches
from scalinglab.training.loop import Point, Stretch, train
from scalinglab.training.optimiser import AdamW
from scalinglab.training.schedule import RateLaw

CURVE = ("step", "tokens", "flops", "train/loss", "lr")
SCRATCH = Path(".scratch")


def run_stretch(
    study: Study,
    size: str,
    name: str,
    source: Path,
    target: Path,
    stretch: Stretch,
    rate_of: Callable[[int], float],
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
    diverged = bool(metadata["diverged"])
    if metadata["step"] != stretch.first:
        raise UserError(f"{source} stands at step {metadata['step']}, not {stretch.first}; delete it and run again")
    batches = open_batches(Paths(study.study).of("encode", ""), study.training.batch_tokens, study.mixture.repeat)
    batches.check(stretch.last, f"{name}: budget")
    identity = digest([name, asdict(stretch), provenance.identity(study), sha256(source), pipeline.own_sources()])
    checkpoint = SCRATCH / study.study / "checkpoints" / f"{name}.safetensors"
    points, start = _resume(checkpoint, identity)
    if points is None:
        points, start = [], stretch.first
    else:
        tensors, _ = load_tensors(checkpoint)
    optimiser.restore(tensors, start)

    started = saved = time.monotonic()
    batch_tokens = study.training.batch_tokens
    live = SCRATCH / study.study / "live" / f"{name}.jsonl"
    with Reporter(name, stretch.last * batch_tokens, live, study.execution.log_seconds) as reporter:

        def after_step(step: int, point: Point | None) -> None:
            nonlocal saved
            if point:
                points.append(point)
            reporter.update(step * batch_tokens, point.loss if point else None, last=step == stretch.last)
            due = time.monotonic() - saved > study.execution.checkpoint_seconds
            if point and due and step < stretch.last:
                state = {"identity": identity, "step": step, "points": [asdict(p) for p in points]}
                save_tensors(checkpoint, optimiser.state_tensors(), state)
                saved = time.monotonic()

        if not diverged:
            diverged = not train(
                model,
                optimiser,
                batches,
                stretch,
                rate_of,
                study.training,
                study.execution,
                after_step,
                start,
            )
    if diverged:
        print(f"{name}: diverged; recorded as such")
    _write(study, target, model, optimiser, stretch, points, diverged, keep_moments)
    seconds = time.monotonic() - started
    record = provenance.describe(study, str(device), seconds, (stretch.last - start) * batch_tokens)
    write_json(target.with_suffix(".provenance.json"), record)
    checkpoint.unlink(missing_ok=True)


def read_rate_law(study: Study) -> RateLaw:
    """The law that the rates stage fitted."""
    return RateLaw(**read_json(Paths(study.study).rate_law))


def _resume(checkpoint: Path, identity: str) -> tuple[list[Point] | None, int]:
    """Curve and step of a usable checkpoint of this very run; (None, 0) where there is none."""
    if not checkpoint.exists():
        return None, 0
    _, state = load_tensors(checkpoint)
    if state["identity"] != identity:
        return None, 0
    print(f"{checkpoint.stem}: continues from the checkpoint at step {state['step']}")
    return [Point(**point) for point in state["points"]], state["step"]


def _write(
    study: Study,
    target: Path,
    model: Decoder,
    optimiser: AdamW,
    stretch: Stretch,
    points: list[Point],
    diverged: bool,
    keep_moments: bool,
) -> None:
    tensors = optimiser.state_tensors()
    if not keep_moments:
        tensors = {name: tensor for name, tensor in tensors.items() if name.startswith("model.")}
    batch_tokens = study.training.batch_tokens
    counts = count(model.shape, study.model)
    rows = []
    for p in points:
        tokens = p.step * batch_tokens
        flops = cell_flops(counts, tokens)
        rows.append({"step": p.step, "tokens": tokens, "flops": flops, "train/loss": p.loss, "lr": p.lr})
    write_csv(target.with_suffix(".csv"), rows, CURVE)
    loss = points[-1].loss if points else None
    state = {
        "step": stretch.last,
        "tokens": stretch.last * batch_tokens,
        "diverged": diverged,
        "train/loss": loss,
    }
    save_tensors(target, tensors, state)
