"""part@theory-part: one part of a measurement that is made in several jobs; measure@theory puts them together."""

import importlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scalinglab import config, pipeline
from scalinglab.errors import UserError
from scalinglab.files import read_json, write_json
from scalinglab.measurements import Tables
from scalinglab.paths import theory_folder
from scalinglab.theory.measurement import Measurement, measurement_of


def run(params: Mapping[str, Any], theory: str, part: str) -> None:
    asked = measurement_of(params, theory)
    study = config.parse(pipeline.study_params(params))
    write(study, asked, part, theory_folder(theory), f"part-{theory}-{part}")


def parts_of(asked: Measurement) -> tuple[str, ...]:
    """The names of its parts; none where it is made in one."""
    module = importlib.import_module(f"scalinglab.measurements.{asked.name}")
    return module.parts(asked.settings_as(module.Settings)) if hasattr(module, "parts") else ()


def write(study: config.Study, asked: Measurement, part: str, folder: Path, job: str) -> None:
    """Measure a part, and write its tables into a folder."""
    module = importlib.import_module(f"scalinglab.measurements.{asked.name}")
    settings = asked.settings_as(module.Settings)
    if part not in (known := module.parts(settings)):
        raise UserError(f"studies/{asked.name}.yaml: part {part!r}: no such part; known: {', '.join(known)}")
    write_json(_file(folder, part), module.measure_part(settings, study, part, job))


def read(folder: Path, part: str) -> Tables:
    """The tables of a part."""
    tables: dict[str, list[dict[str, Any]]] = read_json(_file(folder, part))
    return {
        name: [{key: math.nan if value is None else value for key, value in row.items()} for row in rows]
        for name, rows in tables.items()
    }  # JSON knows no NaN


def _file(folder: Path, part: str) -> Path:
    return folder / "parts" / f"{part}.json"
