"""measure@theory: a question that is measured without variants, as tables, figures and a text."""

import importlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from scalinglab import config, pipeline
from scalinglab.figures.style import save
from scalinglab.files import write_csv, write_json, write_text
from scalinglab.paths import theory_folder
from scalinglab.stages import part
from scalinglab.theory.measurement import Measurement, measurement_of

DPI = 140


def run(params: Mapping[str, Any], theory: str) -> None:
    asked = measurement_of(params, theory)
    write(config.parse(pipeline.study_params(params)), asked, theory_folder(theory), f"measure-{theory}")


def write(study: config.Study, asked: Measurement, folder: Path, job: str) -> str:
    """Measure, write everything into a folder, and return the text."""
    module = importlib.import_module(f"scalinglab.measurements.{asked.name}")
    settings = asked.settings_as(module.Settings)
    tables = {}
    if names := part.parts_of(asked):
        measured = module.combine(settings, study, {name: part.read(folder, name) for name in names})
    else:
        measured = module.measure(settings, study, job)
    for name, rows in measured.items():
        path = folder / f"{name}.csv"
        write_csv(path, rows)
        tables[name] = pd.read_csv(path)  # figures and text are made of the numbers that are published
    for name, figure in module.figures(tables).items():
        save(figure, folder / f"{name}.png", DPI)
    text = module.findings(tables)
    write_text(folder / "findings.md", text)
    write_json(folder / "measurement.json", {"study": study.study, **asdict(asked)})
    return text
