"""emergence: accuracy, per-token accuracy and log-likelihood of every skill against size and budget."""

import pandas as pd

from scalinglab.config import Study, seed_of
from scalinglab.emergence.metrics import verdicts, with_intervals
from scalinglab.files import write_json, write_text
from scalinglab.paths import Paths


def run(study: Study) -> None:
    paths = Paths(study.study)
    columns = ["size", "budget", "width", "tokens", "flops", "params_matmul", "val/bpb"]
    cells = pd.read_csv(paths.cells)[columns]
    table = with_intervals(pd.read_csv(paths.of("table", "exact.csv"))).merge(cells, on=["size", "budget"])
    table["seed_offset"] = [seed_of(size) for size in table["size"]]
    write_text(paths.of("emergence", "metrics.csv"), table.to_csv(index=False, float_format="%.6g"))
    write_json(
        paths.of("emergence", "emergence.json"),
        {"threshold": study.emergence.threshold, "skills": verdicts(table, study.emergence.threshold)},
    )
