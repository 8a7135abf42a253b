"""shots@cell: in-context accuracy of a cell against the number of examples, for every skill, on held-out documents."""

from scalinglab.config import Study
from scalinglab.evaluation.shots import (
    EXACT_COLUMNS,
    SHOT_COLUMNS,
    Answers,
    Row,
    answer,
    by_shots,
    exact_match,
    reference,
)
from scalinglab.files import read_json, write_csv
from scalinglab.model.weights import load_model_weights
from scalinglab.paths import Paths
from scalinglab.skills import skill
from scalinglab.stages.models import build_model, pick_device


def run(study: Study, size: str, budget: str) -> None:
    paths = Paths(study.study)
    device = pick_device(study)
    model = build_model(study, size)
    state = load_model_weights(model, paths.cell("anneal", size, budget, ".safetensors"))
    model.to(device)
    offset = read_json(paths.manifest)["skill_offset"]
    shot_rows: list[Row] = []
    exact_rows: list[Row] = []
    for name in study.mixture.skills:
        one = skill(name)
        pairs = one.pairs("heldout", study.seed, 0, study.shots.documents, study.mixture.seq_len // 2)
        answers = answer(model, one, pairs, offset, study.evaluation.batch_rows)
        if state["diverged"]:
            answers = Answers(answers.correct_NS & False, answers.nll_NS * float("nan"))
        bayes = reference(one, pairs)
        shot_rows += by_shots(name, answers, bayes, study.shots.ks)
        exact_rows += exact_match(name, answers, bayes, study.emergence.exact_lengths)
    for suffix, rows, columns in ((".csv", shot_rows, SHOT_COLUMNS), (".exact.csv", exact_rows, EXACT_COLUMNS)):
        path = paths.cell("shots", size, budget, suffix)
        write_csv(path, [{"size": size, "budget": budget, **row} for row in rows], ("size", "budget", *columns))
