"""`scalinglab theory`: the questions of studies/, and the quick form of one: a look before the real thing.

The quick form of a controlled study trains a few seeds on fewer tokens, at the study's own learning rate; that of a
measurement takes its smaller settings. Both stay outside the DAG and its caches; `snakemake --cores 2 theory_<name>`
runs the whole.
"""

import argparse
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from scalinglab import config, pipeline
from scalinglab.errors import UserError
from scalinglab.paths import theory_folder
from scalinglab.theory.course import by_lecture, no_question
from scalinglab.theory.measurement import measurement_of

Result = TypeVar("Result")


def run(arguments: argparse.Namespace) -> None:
    params = pipeline.all_params()
    asked = {name: one for section in pipeline.THEORY_SECTIONS for name, one in params.get(section, {}).items()}
    name = arguments.name
    if name is None:
        for lecture, names in by_lecture(asked).items():
            print(lecture)
            for one in names:
                print(f"  {one:22} {asked[one]['question']}")
        return
    if name not in asked:
        raise UserError(no_question(name, asked))
    if not arguments.quick:
        raise UserError(
            f"`snakemake --cores 2 theory_{name}` runs the whole; `scalinglab theory {name} --quick` a small form of it"
        )
    if arguments.cores < 1:
        raise UserError(f"--cores {arguments.cores}: must be at least 1")
    _check_data(name)
    if params["study"] == "smoke":
        print("params.yaml is the smoke preset, whose data are too few to tell anything: `scalinglab use laptop`")
    folder = Path(".scratch") / params["study"] / "theory"
    if name in params.get("measured", {}):
        measured(params, name, arguments.cores, folder / name)
    else:
        compared(params, name, arguments.cores, folder)


def _check_data(name: str) -> None:
    """Raises UserError, with the one command that makes them, where files that a question reads are missing."""
    stages = [one for one in pipeline.stages_of(pipeline.load()) if one.theory == name]
    own = theory_folder(name).as_posix()  # what it makes itself
    needed = {dep for stage in stages for dep in stage.deps if pipeline.is_result(dep) and not dep.startswith(own)}
    if missing := sorted(dep for dep in needed if not Path(dep).exists()):
        raise UserError(
            f"{name} reads data of the study that are not there yet; make them, in a few minutes, by\n"
            f"snakemake --cores 2 {' '.join(missing)}"
        )


def measured(params: dict[str, Any], name: str, cores: int, folder: Path) -> None:
    """Measure the quick form of a question, and write tables, figures and text into a folder."""
    from scalinglab.stages.measure import write
    from scalinglab.stages.part import parts_of

    asked = measurement_of(params, name).shortened()
    print(asked.question)
    _each(cores, _part, [(params, name, part, folder) for part in parts_of(asked)])
    print(write(config.parse(pipeline.study_params(params)), asked, folder, f"quick-{name}"))
    print(f"tables and figures: {folder}")


def _part(params: dict[str, Any], name: str, part: str, folder: Path) -> None:
    from scalinglab.stages.part import write

    asked = measurement_of(params, name).shortened()
    write(config.parse(pipeline.study_params(params)), asked, part, folder, f"quick-{name}-{part}")


def _each(cores: int, run: Callable[..., Result], calls: Sequence[tuple[Any, ...]]) -> list[Result]:
    """What run gives for each call, in processes of their own: torch and its threads are not to be forked."""
    with ProcessPoolExecutor(cores, get_context("spawn")) as pool:
        jobs = [pool.submit(run, *call) for call in calls]
        try:
            return [job.result() for job in jobs]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def compared(params: dict[str, Any], name: str, cores: int, folder: Path) -> None:
    """Train and compare the quick form of a controlled study, and draw it into a folder."""
    from scalinglab.figures import forest
    from scalinglab.figures.style import save
    from scalinglab.measurements import wording
    from scalinglab.stages.variant import check_measures
    from scalinglab.stages.verdict import DPI
    from scalinglab.theory.comparison import MIN_SEEDS, compare
    from scalinglab.theory.protocol import check_variants, protocol_of

    protocol = protocol_of(params, name).shortened()
    check_measures(protocol)
    check_variants(params, protocol)
    found = _each(cores, _variant, [(params, name, variant) for variant in protocol.variants])
    losses = {
        variant: [row["loss"] for row in rows if row["role"] == "run"]
        for variant, rows in zip(protocol.variants, found, strict=True)
    }
    judged = compare(losses, protocol.reference, protocol.margin)
    print(f"{protocol.question} ({protocol.tokens} tokens, {len(protocol.seeds)} seeds, {protocol.unit})")
    print(f"{protocol.reference:16} {wording.mean(pd.Series(losses[protocol.reference]))}, and from that:")
    for one in judged:
        print(f"{one.variant:16} {wording.verdict(vars(one))}")
    if len(protocol.seeds) < MIN_SEEDS:
        print(f"A verdict takes {MIN_SEEDS} seeds at least: quick.seeds in studies/{name}.yaml")
    save(forest.of_study(protocol, judged, losses), folder / f"{name}.png", DPI)
    print(f"figure: {folder / f'{name}.png'}")


def _variant(params: dict[str, Any], name: str, variant: str) -> list[dict[str, Any]]:
    from scalinglab.stages.variant import run_variant
    from scalinglab.theory.protocol import protocol_of, study_of

    protocol = protocol_of(params, name).shortened()
    return run_variant(study_of(params, protocol, variant), protocol, f"quick-{name}-{variant}")
