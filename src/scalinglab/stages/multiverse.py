"""multiverse: the exponent of the optimal size under every choice of estimator, counting and cells."""

import pandas as pd

from scalinglab.config import Study
from scalinglab.files import write_text
from scalinglab.laws import multiverse
from scalinglab.paths import Paths


def run(study: Study) -> None:
    paths = Paths(study.study)
    table = multiverse.table(pd.read_csv(paths.cells))
    write_text(paths.of("multiverse", "universes.csv"), table.to_csv(index=False, float_format="%.6g"))
