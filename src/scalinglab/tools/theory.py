"""`scalinglab theory`: the questions of studies/, and the quick form of one: a look before the real thing.

The quick form of a controlled study trains a few seeds on fewer tokens, at the study's own learning rate; that of a
measurement takes its smaller settings. Both stay outside the DAG and its caches; `snakemake --cores 2 theory_<name>`
runs the whole.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from scalinglab import config, pipeline
from scalinglab.errors import UserError
from scalinglab.theory.course import by_lecture
from scalinglab.theory.measurement import measurement_of


def run(arguments: argparse.Namespace) -> None:
    params = pipeline.all_params()
    if arguments.name is None:
        asked = {name: one for section in pipeline.THEORY_SECTIONS for name, one in params.get(section, {}).items()}
        for lecture, names in by_lecture(asked).items():
            print(lecture)
            for name in names:
                print(f"  {name:22} {asked[name]['question']}")
        return
    if not arguments.quick:
        raise UserError(
            f"`snakemake --cores 2 theory_{arguments.name}` runs the whole; "
            f"`scalinglab theory {arguments.name} --quick` a small form of it"
        )
    folder = Path(".scratch") / params["study"] / "theory"
    if arguments.name in params.get("measured", {}):
        _measured(params, arguments.name, folder / arguments.name)
    else:
        _compared(params, arguments.name, arguments.cores, folder)


def _measured(params: dict[str, Any], name: str, folder: Path) -> None:
    from scalinglab.stages.measure import write

    asked = measurement_of(params, name).shortened()
    print(asked.question)
    print(write(config.parse(pipeline.study_params(params)), asked, folder, f"quick-{name}"))
    print(folder)


def _compared(params: dict[str, Any], name: str, cores: int, folder: Path) -> None:
    from scalinglab.figures import forest
    from scalinglab.figures.style import save
    from scalinglab.stages.verdict import DPI
    from scalinglab.theory.comparison import compare
    from scalinglab.theory.protocol import protocol_of

    protocol = protocol_of(params, name).shortened()
    with ProcessPoolExecutor(cores, get_context("spawn")) as pool:
        jobs = {variant: pool.submit(_variant, params, name, variant) for variant in protocol.variants}
        runs = {variant: [row for row in job.result() if row["role"] == "run"] for variant, job in jobs.items()}
    losses = {variant: [row["loss"] for row in rows] for variant, rows in runs.items()}
    found = compare(losses, protocol.reference, protocol.margin)
    print(f"{protocol.question} ({protocol.tokens} tokens, {len(protocol.seeds)} seeds, {protocol.unit})")
    for one in found:
        print(f"{one.variant:16} {one.difference:+.3f} [{one.low:+.3f}, {one.high:+.3f}]  {one.verdict}")
    save(forest.of_study(protocol, found, losses), folder / f"{name}.png", DPI)
    print(folder / f"{name}.png")


def _variant(params: dict[str, Any], name: str, variant: str) -> list[dict[str, Any]]:
    """In a process of its own: torch and its threads are not to be forked."""
    from scalinglab.stages.variant import run_variant
    from scalinglab.theory.protocol import protocol_of, study_of

    protocol = protocol_of(params, name).shortened()
    return run_variant(study_of(params, protocol, variant), protocol, f"quick-{name}-{variant}")
