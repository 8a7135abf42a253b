"""anneal@size-budget: leave the trunk at a budget's branch point and decay the rate to zero; the result is the cell."""

from scalinglab.config import Study, tokens_of
from scalinglab.paths import Paths
from scalinglab.stages.pretraining import read_rate_law, run_stretch
from scalinglab.training.loop import Stretch
from scalinglab.training.schedule import Rates, anneal_rate, branch_step, steps_of


def run(study: Study, size: str, budget: str) -> None:
    paths, training = Paths(study.study), study.training
    first, last = branch_step(budget, training), steps_of(tokens_of(budget), training.batch_tokens)
    peak = read_rate_law(study).peak(size)
    run_stretch(
        study,
        size,
        f"anneal-{size}-{budget}",
        source=paths.trunk(size, budget),
        target=paths.cell("anneal", size, budget, ".safetensors"),
        stretch=Stretch(first, last),
        rates_of=lambda step: Rates.share(peak, anneal_rate(step, first, last, training), training),
        keep_moments=False,
    )
