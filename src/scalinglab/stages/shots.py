"""shots@cell: in-context accuracy of a cell against the number of examples, for every skill, on held-out documents."""

import pandas as pd

from scalinglab.config import Study
from scalinglab.evaluation.shots import Answers, answer, by_shots, exact_match
from scalinglab.files import read_json, write_text
from scalinglab.model.weights import load_model_weights
from scalinglab.paths import Paths
from scalinglab.skills import skill
from scalinglab.stages.pretraining import build_model, pick_device


def run(study: Study, size: str, budget: str) -> None:
    paths = Paths(study.study)
    device = pick_device(study)
    model = build_model(study, size)
    state = load_model_weights(model, paths.cell("anneal", size, budget, ".safetensors"))
    model.to(device)
    offset = read_json(paths.manifest)["skill_offset"]
    shot_rows, exact_rows = [], []
    for name in study.mixture.skills:
        one = skill(name)
        pairs = one.pairs("heldout", study.seed, 0, study.shots.documents, study.mixture.seq_len // 2)
        answers = answer(model, one, pairs, offset, study.evaluation.batch_rows)
        if state["diverged"]:
            answers = Answers(answers.correct_NS & False, answers.nll_NS * float("nan"))
        shot_rows += by_shots(one, pairs, answers, study.shots.ks)
        exact_rows += exact_match(one, pairs, answers, study.emergence.exact_lengths)
    for suffix, rows in ((".csv", shot_rows), (".exact.csv", exact_rows)):
        table = pd.DataFrame(rows)
        table.insert(0, "budget", budget)
        table.insert(0, "size", size)
        write_text(paths.cell("shots", size, budget, suffix), table.to_csv(index=False, float_format="%.6g"))
