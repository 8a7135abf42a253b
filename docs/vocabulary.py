"""The words and numbers that all pages of docs/theory/ take for granted, from the study's parameters and results."""

import math
import sys

import pandas as pd
import yaml
from reliability import ROOT, read

from scalinglab import config
from scalinglab.model.shape import shape_of
from scalinglab.skills import skill
from scalinglab.skills.base import Skill
from scalinglab.training.schedule import RateLaw

STUDY, SIZE = "laptop", "d64"


def section() -> str:
    """What a size, the study's rate and a skill are; for the study and the size that most pages are about."""
    study = config.parse(yaml.safe_load((ROOT / f"presets/{STUDY}.yaml").read_text(encoding="utf-8")))
    law, vocabulary = (
        read(f"results/{STUDY}/rates/law.json"),
        read(f"results/{STUDY}/encode/manifest.json")["vocab_size"],
    )
    shape, training = shape_of(SIZE, study.model, vocabulary, study.mixture.seq_len), study.training
    exact = pd.read_csv(ROOT / f"results/{STUDY}/table/exact.csv")
    skills = [f"* *{one.name}*: {_told(one)} {_bounds(exact, one.name)}" for one in map(skill, study.mixture.skills)]
    peak, share = RateLaw(**law).peak(SIZE), study.mixture.skill_share
    shift = (
        " Before attention, a token shift mixes in the position before: even the first layer's keys tell what stands "
        "before them."
        if study.model.token_shift
        else ""
    )
    return "\n".join(
        [
            "## Words",
            "",
            f"* *`{STUDY}`*: the default study, whose parameters a page has where it says nothing else "
            f"(presets/{STUDY}.yaml). {1 - share:.0%} text (source code and documentation of Python "
            f"packages), {share:.0%} documents of skills; of the latter, losses are not part of `a held-out token`.",
            f"* *{SIZE}*: {shape.n_layer} layers of width {shape.d_model}, {shape.n_head} heads of {shape.head_dim} "
            f"channels, hidden width {shape.d_ff} of the feed-forward part; a context of {shape.seq_len} tokens out of "
            f"{vocabulary:,} (a uniform guess costs {math.log(vocabulary):.2f} nats).{shift}",
            f"* *the study's rate*: at the peak, {law['prefactor']:.3g} width^{law['exponent']:.2g} by the study's own "
            f"sweeps, for {SIZE} {peak:.2g}; the embedding's is {training.embedding_rate:g}. Warmup takes "
            f"{training.warmup_tokens:,} tokens, the decay to zero at the end {training.anneal_share:.0%} of a run "
            f"({training.schedule}); a step has {training.batch_tokens:,} tokens; gradients are clipped at norm "
            f"{training.clip_norm:g}.",
            "* *nats*: of cross-entropy, the mean over tokens of held-out documents.",
            *skills,
            "",
        ]
    )


def _told(one: Skill) -> str:
    """The first line of the skill's module, without the name that it begins with."""
    said = (sys.modules[type(one).__module__].__doc__ or "").split("\n")[0]
    return said.partition(": ")[2]


def _bounds(exact: pd.DataFrame, name: str) -> str:
    row = exact[(exact["skill"] == name) & (exact["length"] == 1)].iloc[0]
    return (
        f"Guessing without examples is right {row['floor']:.0%} of the time, the Bayes optimum {row['bayes/acc']:.0%}."
    )
