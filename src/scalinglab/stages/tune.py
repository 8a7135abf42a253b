"""tune@size: held-out loss of one size at every learning rate of the sweep, after a short budget."""

from typing import Any

from scalinglab.config import Study, tokens_of
from scalinglab.files import write_csv
from scalinglab.paths import Paths
from scalinglab.stages.checkpoints import Checkpoint
from scalinglab.stages.short_runs import ShortRun, job_identity
from scalinglab.training.schedule import run_rates, steps_of

COLUMNS = ("size", "rate", "tokens", "val/loss")


def run(study: Study, size: str) -> None:
    steps = steps_of(tokens_of(study.tune.budget), study.training.batch_tokens)
    finished = Checkpoint(study, f"tune-{size}", job_identity(study, size, steps, study.tune.rates))
    rows: list[dict[str, Any]] = found[1]["rows"] if (found := finished.load()) else []
    for peak in study.tune.rates[len(rows) :]:
        one = ShortRun(study, size, f"tune-{size}.{peak:g}")
        one.train(steps, run_rates(peak, steps, study.training))
        tokens = steps * study.training.batch_tokens
        rows.append({"size": size, "rate": peak, "tokens": tokens, "val/loss": one.held_out_loss()})
        finished.save({}, {"rows": rows})
    write_csv(Paths(study.study).of("tune", f"{size}.csv"), rows, COLUMNS)
