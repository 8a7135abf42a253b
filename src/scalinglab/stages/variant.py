"""variant@theory-variant: one variant of a controlled study, at its best learning rate, over all seeds."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scalinglab.config import Study, tokens_of
from scalinglab.corpus import bpe
from scalinglab.corpus.documents import read_documents
from scalinglab.errors import UserError
from scalinglab.files import read_json, write_csv
from scalinglab.paths import Paths, theory_runs
from scalinglab.stages.paired import PairedRuns
from scalinglab.stages.pretraining import read_rate_law
from scalinglab.stages.short_runs import ShortRun, job_identity
from scalinglab.theory.measures import MEASURES, TrainedModel
from scalinglab.theory.protocol import RUN_COLUMNS, Protocol, protocol_of, study_of
from scalinglab.training.schedule import run_rates, steps_of

HELD_OUT_TOKENS = 65_536


def run(params: Mapping[str, Any], theory: str, variant: str) -> None:
    protocol = protocol_of(params, theory)
    study = study_of(params, protocol, variant)
    check_measures(protocol)
    rows = run_variant(study, protocol, f"variant-{theory}-{variant}")
    measured = [key for key in rows[-1] if key not in RUN_COLUMNS]
    write_csv(theory_runs(theory) / f"{variant}.csv", rows, [*RUN_COLUMNS, *sorted(measured)])


def check_measures(protocol: Protocol) -> None:
    """Raises UserError where a study asks for a measure that there is not."""
    if unknown := sorted(set(protocol.measures) - MEASURES.keys()):
        known = ", ".join(sorted(MEASURES))
        raise UserError(f"studies/{protocol.name}.yaml: measures: {', '.join(unknown)}: unknown; known: {known}")


def run_variant(study: Study, protocol: Protocol, name: str) -> list[dict[str, Any]]:
    """One row a run: first the sweep of rates, then every seed at the best of them, with all measures."""
    peak = read_rate_law(study).peak(protocol.size)
    held_out = _held_out(study) if protocol.measures else np.empty(0, np.uint16)

    def one(key: str, seed: int, factor: float) -> dict[str, Any]:
        return _train(study, protocol, f"{name}.{key}", seed, factor, held_out)

    identity = job_identity(study, protocol.size, protocol.tokens, protocol.measures, peak)
    return PairedRuns(study, name, identity).of(protocol.rates, protocol.seeds, one)


def _train(
    study: Study, protocol: Protocol, name: str, seed: int, factor: float, held_out: NDArray[np.uint16]
) -> dict[str, Any]:
    """Train one model; its learning rate, held-out loss and measures (NaN where it diverged)."""
    steps = steps_of(tokens_of(protocol.tokens), study.training.batch_tokens)
    peak = read_rate_law(study).peak(protocol.size)
    one = ShortRun(study, f"{protocol.size}s{seed}", name)
    one.train(steps, run_rates(peak, steps, study.training, factor))
    loss = one.held_out_loss()  # before anything is done to the model
    offset = read_json(Paths(study.study).manifest)["skill_offset"]
    scale = one.optimiser.loss_scale
    trained = TrainedModel(one.model, study, held_out, offset, one.batches, steps, one.curve, scale)
    measured = {key: value for measure in protocol.measures for key, value in MEASURES[measure](trained).items()}
    if one.diverged:
        measured = dict.fromkeys(measured, float("nan"))
    return {"rate": factor * peak, "loss": loss, **measured}


def _held_out(study: Study) -> NDArray[np.uint16]:
    """The first held-out documents as one stream of tokens: longer stretches than the rows of the validation shard."""
    paths = Paths(study.study)
    tokenizer = bpe.load(paths.tokenizer, read_json(paths.tokenizer_report)["sha256"])
    tokens: list[int] = []
    for document in read_documents(paths.documents, "validation"):
        if len(tokens) <= HELD_OUT_TOKENS:  # all are read: only then is the table's checksum known to hold
            tokens += [*tokenizer.encode(document.text), bpe.EOS]
    if len(tokens) <= 4 * study.mixture.seq_len:
        raise UserError(f"the held-out text has {len(tokens)} tokens, fewer than four contexts; add text")
    return np.array(tokens[: HELD_OUT_TOKENS + 1], dtype=np.uint16)
