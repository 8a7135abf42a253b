"""part@theory-part: one part of a measurement that is made in several jobs; measure@theory puts them together."""

import importlib
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scalinglab import config, pipeline
from scalinglab.errors import UserError
from scalinglab.files import read_json, write_text
from scalinglab.parts import Tables
from scalinglab.paths import theory_folder
from scalinglab.theory.measurement import Measurement, measurement_of


def run(params: Mapping[str, Any], theory: str, part: str) -> None:
    asked = measurement_of(params, theory)
    study = config.parse(pipeline.study_params(params))
    write(study, asked, part, theory_folder(theory), f"part-{theory}-{part}")


def parts_of(asked: Measurement) -> tuple[str, ...]:
    """The names of its parts; none where it is made in one."""
    name = f"scalinglab.parts.{asked.name}"
    if importlib.util.find_spec(name) is None:
        return ()
    module = importlib.import_module(name)
    return module.parts(asked.settings_as(module.Settings))


def write(study: config.Study, asked: Measurement, part: str, folder: Path, job: str) -> None:
    """Measure a part, and write its tables into a folder."""
    if part not in (known := parts_of(asked)):
        said = f"known: {', '.join(known)}" if known else "it is measured in one"
        raise UserError(f"studies/{asked.name}.yaml: part {part!r}: no such part; {said}")
    module = importlib.import_module(f"scalinglab.parts.{asked.name}")
    tables = module.measure_part(asked.settings_as(module.Settings), study, part, job)
    # Columns keep their order, and Python's JSON has NaN: of runs that diverged.
    write_text(_file(folder, part), json.dumps(tables, indent=1) + "\n")


def read(folder: Path, part: str) -> Tables:
    """The tables of a part."""
    return read_json(_file(folder, part))


def _file(folder: Path, part: str) -> Path:
    return folder / "parts" / f"{part}.json"
