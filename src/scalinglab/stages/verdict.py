"""verdict@theory: every variant of a controlled study against its reference: a table, a forest plot, and details."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from scalinglab.figures import details, forest
from scalinglab.figures.style import save
from scalinglab.files import write_csv, write_json
from scalinglab.paths import theory_folder, theory_runs
from scalinglab.theory.comparison import compare
from scalinglab.theory.protocol import protocol_of
from scalinglab.theory.tables import of_seeds

DPI = 140


def run(params: Mapping[str, Any], theory: str) -> None:
    protocol = protocol_of(params, theory)
    runs = {name: pd.read_csv(theory_runs(theory) / f"{name}.csv") for name in protocol.variants}
    losses = {name: of_seeds(table) for name, table in runs.items()}
    found = compare(losses, protocol.reference, protocol.margin)
    folder = theory_folder(theory)
    write_csv(folder / "verdicts.csv", [asdict(one) for one in found])
    # What these verdicts were made of: the protocol may be edited before it runs again.
    write_json(folder / "protocol.json", {"study": params["study"], **asdict(protocol)})
    save(forest.of_study(protocol, found, losses), folder / "forest.png", DPI)
    save(details.draw(protocol, runs), folder / "details.png", DPI)
