"""trunk@size-segment: train at constant rate from one branch point to the next."""

from scalinglab.config import Study
from scalinglab.paths import Paths
from scalinglab.stages.pretraining import read_rate_law, run_stretch
from scalinglab.training.loop import Stretch
from scalinglab.training.schedule import Rates, branch_step, trunk_rate


def run(study: Study, size: str, after: str, to: str) -> None:
    paths, training = Paths(study.study), study.training
    peak = read_rate_law(study).peak(size)
    run_stretch(
        study,
        size,
        f"trunk-{size}-{to}",
        source=paths.trunk(size, after),
        target=paths.trunk(size, to),
        stretch=Stretch(branch_step(after, training), branch_step(to, training)),
        rates_of=lambda step: Rates.share(peak, trunk_rate(step, training), training),
        keep_moments=True,
    )
