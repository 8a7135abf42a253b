"""ladder@seed: the exponent on each rung, from the base recipe to the study's own, and its figure."""

import pandas as pd

from scalinglab.config import Study
from scalinglab.figures import ladder as figure
from scalinglab.figures.style import save
from scalinglab.files import read_json, write_text
from scalinglab.laws import ladder
from scalinglab.paths import Paths
from scalinglab.recipes import RECIPES


def run(study: Study, seed: str) -> None:
    paths = Paths(study.study)
    cells = pd.concat(
        [
            pd.read_csv(paths.of("recipe", f"{seed}/{recipe}-{size}.csv"))
            for recipe in RECIPES
            for size in study.ladder.sizes
        ],
        ignore_index=True,
    )
    noise = read_json(paths.of("table", "metrics.json"))["seed_noise"]
    rungs = ladder.climb(cells, noise, study.ladder.resamples, study.seed)
    write_text(paths.of("ladder", f"{seed}.csv"), rungs.to_csv(index=False, float_format="%.6g"))
    save(figure.draw(rungs), paths.of("ladder", f"{seed}.png"), study.ladder.dpi)
