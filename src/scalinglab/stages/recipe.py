"""recipe@seed-recipe-size: one size trained by one recipe of the ladder, scored at each of its budgets."""

from dataclasses import replace
from typing import Any

from scalinglab.config import Study, tokens_of, width_of
from scalinglab.files import write_csv
from scalinglab.model.counts import cell_flops, count
from scalinglab.paths import Paths
from scalinglab.recipes import RECIPES
from scalinglab.stages.checkpoints import Checkpoint
from scalinglab.stages.pretraining import read_rate_law
from scalinglab.stages.short_runs import ShortRun, State, job_identity
from scalinglab.training.schedule import Rates, branch_of, run_rates, steps_of, trunk_rate


def run(study: Study, seed: str, recipe: str, size: str) -> None:
    how, law = RECIPES[recipe], read_rate_law(study)
    label = f"d{width_of(size)}s{seed}"
    # Without tuning, the rate that suits the largest size serves all.
    peak = law.peak(size if how.rate_by_size else max(study.ladder.sizes, key=width_of))
    training = study.training
    if how.long_warmup:
        training = replace(training, warmup_tokens=study.ladder.warmup_tokens)
    name, own = f"recipe-{seed}-{recipe}-{size}", replace(study, training=training)
    one = ShortRun(own, label, name)
    counts = count(one.model.shape, study.model)
    finished = Checkpoint(study, f"{name}.budgets", job_identity(own, name, peak, study.ladder.budgets))
    rows: list[dict[str, Any]] = []
    if found := finished.load():
        rows = found[1]["rows"]
        one.restore(State(found[1]["step"], found[0], found[1]["diverged"]))
    for budget in study.ladder.budgets[len(rows) :]:
        last = steps_of(tokens_of(budget), training.batch_tokens)
        first = branch_of(last, training) if how.decay else last
        one.train(first, lambda step: Rates.share(peak, trunk_rate(step, training), training))
        trunk = one.state()
        # The branch's checkpoints write over the trunk's.
        finished.save(trunk.tensors, {"rows": rows, "step": trunk.step, "diverged": trunk.diverged})
        one.train(last, run_rates(peak, last, training))
        tokens = last * training.batch_tokens
        rows.append(
            {
                "recipe": recipe,
                "size": size,
                "budget": budget,
                "seed": int(seed),
                "rate": peak,
                "tokens": tokens,
                "flops": cell_flops(counts, tokens),
                **counts.as_dict(),
                "diverged": one.diverged,
                "val/loss": one.held_out_loss(),
            }
        )
        one.restore(trunk)
        finished.save(trunk.tensors, {"rows": rows, "step": trunk.step, "diverged": trunk.diverged})
    columns = ("recipe", "size", "budget", "seed", "rate", "tokens", "flops", *counts.as_dict(), "diverged", "val/loss")
    write_csv(Paths(study.study).of("recipe", f"{seed}/{recipe}-{size}.csv"), rows, columns)
