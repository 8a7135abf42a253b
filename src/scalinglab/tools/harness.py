"""`scalinglab harness`: score a cell's skills with lm-evaluation-harness, and compare with our own scorer."""

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from scalinglab import config, provenance
from scalinglab.errors import UserError
from scalinglab.files import read_json
from scalinglab.paths import Paths


def run(arguments: argparse.Namespace) -> None:
    """Write the task files, run the harness on them, and print both accuracies.

    Raises UserError where the harness is not installed, and for a cell that was not trained.
    """
    try:
        from lm_eval import simple_evaluate
        from lm_eval.tasks import TaskManager

        from scalinglab.harness.model import ScalinglabLM
    except ImportError:
        raise UserError("lm-evaluation-harness is not installed; `pip install -e '.[harness]'`") from None
    from scalinglab.corpus import bpe
    from scalinglab.evaluation.answers import answer
    from scalinglab.harness import tasks
    from scalinglab.model.weights import load_model_weights
    from scalinglab.skills import skill
    from scalinglab.stages.models import build_model

    study = config.load()
    paths = Paths(study.study)
    weights = paths.cell("anneal", arguments.size, arguments.budget, ".safetensors")
    if not weights.exists():
        raise UserError(f"{weights} is missing; run snakemake, or name a cell of the grid")
    if read_json(weights.with_suffix(".provenance.json"))["identity"] != provenance.identity(study):
        raise UserError(f"{weights} was trained with other parameters or data than params.yaml's; run snakemake first")
    model = build_model(study, arguments.size)
    load_model_weights(model, weights)
    offset = read_json(paths.manifest)["skill_offset"]
    folder = Path(arguments.folder or f".scratch/{study.study}/harness")
    ours = {}
    for one in map(skill, study.mixture.skills):
        rows_NT = one.documents("heldout", study.seed, 0, arguments.documents, study.mixture.seq_len + 1)
        answers = answer(model, one, rows_NT, offset, study.evaluation.batch_rows)
        shots = one.places(rows_NT).shot_A.tolist()
        for k in sorted(set(arguments.k or study.shots.ks) & set(shots)):
            right = answers.p_NAV[:, shots.index(k)].argmax(axis=1) == one.gold(rows_NT)[:, shots.index(k)]
            ours[tasks.write(folder, one, rows_NT, k)] = float(right.mean())
    found = simple_evaluate(
        model=ScalinglabLM(model, bpe.load(paths.tokenizer, read_json(paths.tokenizer_report)["sha256"]), offset),
        tasks=list(ours),
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        bootstrap_iters=0,
    )
    table = Table("task", "harness acc", "ours")
    for name, value in ours.items():
        table.add_row(name, f"{found['results'][name]['acc,none']:.4f}", f"{value:.4f}")
    Console().print(table)
