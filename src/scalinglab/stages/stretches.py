"""One stretch of training inside a job: reported, checkpointed, and taken up again where a killed run left it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch

from scalinglab import pipeline
from scalinglab.config import Study
from scalinglab.files import digest, read_json
from scalinglab.model.decoder import Decoder
from scalinglab.model.weights import digest_of
from scalinglab.paths import Paths
from scalinglab.reporter import Reporter
from scalinglab.shards import open_shard
from scalinglab.stages.checkpoints import SCRATCH, Checkpoint
from scalinglab.training.data import Batches
from scalinglab.training.loop import Meter, Point, Stretch, train
from scalinglab.training.optimiser import AdamW
from scalinglab.training.schedule import Rates


@dataclass(frozen=True)
class Trained:
    """The curve of a stretch, whether it diverged, and the step that this process began at."""

    points: list[Point]
    diverged: bool
    start: int


def open_batches(study: Study) -> Batches:
    """Batches over the shards that the encode stage wrote. Raises UserError where one is missing or damaged."""
    folder = Paths(study.study).of("encode", "")
    rows, scored = open_shard(folder, "train.npy"), open_shard(folder, "train-scored.npy")
    training = study.training
    return Batches(rows, scored, training.batch_tokens, study.mixture.repeat, training.unique_tokens)


def train_stretch(
    study: Study,
    name: str,
    model: Decoder,
    optimiser: AdamW,
    batches: Batches,
    stretch: Stretch,
    rates_of: Callable[[int], Rates],
) -> Trained:
    """Train over a stretch from the state that model and optimiser hold, or from a later one of the same run."""
    batches.check(stretch.last, f"{name}: budget")
    device = next(model.parameters()).device
    # Equal data, rates, code and initial state are the same run, whatever it is called.
    data = read_json(Paths(study.study).manifest)["sha256"]
    rates = [asdict(rates_of(step)) for step in range(stretch.first, stretch.last)]
    setting = [asdict(stretch), asdict(study.model), asdict(study.training), study.mixture.repeat, data, rates]
    begun = digest_of(optimiser.state_tensors())
    checkpoint = Checkpoint(study, name, digest([*setting, begun, pipeline.own_sources()]))
    points, start, meter = [], stretch.first, Meter.new(device)
    if (found := checkpoint.load()) is not None:
        tensors, state = found
        points, start = [Point(**point) for point in state["points"]], state["step"]
        total, norm = (tensors.pop(name).to(device) for name in ("meter.total", "meter.norm"))
        meter = Meter(total, norm, state["meter_steps"])
        optimiser.restore(tensors, start)
        print(f"{name}: continues from the checkpoint at step {start}")
    tokens = study.training.batch_tokens
    live = SCRATCH / study.study / "live" / f"{name}.jsonl"
    with Reporter(name, stretch.last * tokens, live, study.execution.log_seconds) as reporter:

        def after_step(step: int, point: Point | None) -> None:
            if point:
                points.append(point)
            reporter.update(step * tokens, point.loss if point else None, last=step == stretch.last)
            if step < stretch.last:
                checkpoint.save_if_due(lambda: _state(step))

        def _state(step: int) -> tuple[dict[str, torch.Tensor], dict]:
            curve = [asdict(point) for point in points]
            tensors = optimiser.state_tensors() | {"meter.total": meter.total, "meter.norm": meter.norm}
            return tensors, {"step": step, "points": curve, "meter_steps": meter.steps}

        finished = train(
            model, optimiser, batches, stretch, rates_of, study.training, study.execution, after_step, start, meter
        )
    return Trained(points, not finished, start)
