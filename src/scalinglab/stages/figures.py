"""figures@figure: draw one figure from the study's tables."""

import pandas as pd

from scalinglab.config import Study
from scalinglab.errors import UserError
from scalinglab.figures.registry import FIGURES
from scalinglab.figures.style import Tables, save
from scalinglab.files import read_json
from scalinglab.paths import Paths
from scalinglab.training.schedule import RateLaw


def run(study: Study, figure: str) -> None:
    if figure not in FIGURES:
        raise UserError(f"unknown figure {figure!r}; known: {', '.join(FIGURES)}")
    paths = Paths(study.study)
    tables = Tables(
        sweeps=pd.concat(pd.read_csv(paths.of("tune", f"{size}.csv")) for size in study.tune.sizes),
        rates=pd.read_csv(paths.of("rates", "best.csv")),
        rate_law=RateLaw(**read_json(paths.rate_law)),
        cells=pd.read_csv(paths.cells),
        shots=pd.read_csv(paths.of("table", "shots.csv")),
        exact=pd.read_csv(paths.of("emergence", "metrics.csv")),
        prompts=pd.read_csv(paths.of("table", "prompts.csv")),
        text=pd.read_csv(paths.of("table", "text.csv")),
        lines=pd.read_csv(paths.of("emergence", "lines.csv")),
        emergence=read_json(paths.of("emergence", "emergence.json")),
        isoflop=pd.read_csv(paths.of("laws", "isoflop.csv")),
        forecast=pd.read_csv(paths.of("laws", "forecast.csv")),
        universes=pd.read_csv(paths.of("multiverse", "universes.csv")),
        laws=read_json(paths.of("laws", "laws.json")),
    )
    save(FIGURES[figure](tables), paths.of("figures", f"{figure}.png"), study.figures[figure].dpi)
