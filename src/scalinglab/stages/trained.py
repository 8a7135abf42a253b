"""A model of a size after so many tokens, as in the study: what a question looks at that compares no training."""

from scalinglab.config import Study, tokens_of
from scalinglab.stages.pretraining import read_rate_law
from scalinglab.stages.short_runs import ShortRun
from scalinglab.training.schedule import run_rates, steps_of


def trained(study: Study, size: str, tokens: str, name: str) -> ShortRun:
    """Trained on the study's mixture at its rate for the size; `name` is that of its checkpoints."""
    steps = steps_of(tokens_of(tokens), study.training.batch_tokens)
    run = ShortRun(study, size, name)
    run.train(steps, run_rates(read_rate_law(study).peak(size), steps, study.training))
    return run
