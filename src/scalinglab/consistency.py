"""Rules of params.yaml that span several keys: what would otherwise come to light in the middle of a run."""

from collections.abc import Sequence

from scalinglab.errors import UserError
from scalinglab.schema import START, Segment, Study, Training, tokens_of, width_of
from scalinglab.skills import fitting

SEALED_ABOVE = 0.25  # share of the largest budget above which cells are forecast before they are evaluated


def check(study: Study, where: str) -> None:
    """Raise UserError, with the value and the fix, where keys do not fit together."""
    grid, model = study.grid, study.model
    ladder = study.ladder
    lists = {
        "grid.sizes": grid.sizes,
        "grid.budgets": grid.budgets,
        "mixture.skills": study.mixture.skill_names,
        "tune.sizes": study.tune.sizes,
        "ladder.sizes": ladder.sizes,
        "ladder.seeds": ladder.seeds,
    }
    for name, labels in lists.items():
        if len(set(labels)) != len(labels):
            raise UserError(f"{where}: {name} = {list(labels)}: repeats a label; list each once")
    sections = (("grid", grid.sizes), ("tune", study.tune.sizes), ("ladder", ladder.sizes if ladder.seeds else ()))
    for name, size in [(name, size) for name, sizes in sections for size in sizes]:
        width = width_of(size)
        head_dim = min(model.head_dim, width)
        if width % head_dim or head_dim % 2:
            raise UserError(
                f"{where}: {name}.sizes: {size}: heads of {head_dim} do not divide the width {width}; "
                f"take a width that is a multiple of model.head_dim = {model.head_dim}, or change head_dim"
            )
        if (width // head_dim) % model.kv_groups:
            raise UserError(
                f"{where}: {name}.sizes: {size}: model.kv_groups = {model.kv_groups} does not divide its "
                f"{width // head_dim} heads; take a divisor"
            )
    if model.active_experts > model.experts:
        raise UserError(
            f"{where}: model.active_experts = {model.active_experts}: more than model.experts = {model.experts}; "
            "lower it, or raise experts"
        )
    _check_tune(study, where)
    if ladder.seeds:
        _check_ladder(study, where)
    tokens = [tokens_of(budget) for budget in grid.budgets]
    if tokens != sorted(tokens):
        raise UserError(f"{where}: grid.budgets = {list(grid.budgets)}: list budgets in growing order")
    chain = _segments(grid.budgets)
    if grid.segments != chain:
        lines = "\n".join(
            f"    - {{after: {link.after}, to: {link.to}, evaluate_after: {link.evaluate_after}}}" for link in chain
        )
        raise UserError(f"{where}: grid.segments does not follow grid.budgets; it must read\n{lines}")
    batch, seq_len = study.training.batch_tokens, study.mixture.seq_len
    if batch % seq_len:
        raise UserError(f"{where}: training.batch_tokens = {batch}: not a multiple of mixture.seq_len = {seq_len}")
    if 0 < study.training.unique_tokens < batch:
        raise UserError(
            f"{where}: training.unique_tokens = {study.training.unique_tokens}: less than a batch of {batch}; raise "
            "it, or 0 for all"
        )
    _check_precision(study, where)
    _check_evaluation(study, where)
    shortest = tokens[0] * (1 - study.training.anneal_share)
    if study.training.warmup_tokens >= shortest:
        raise UserError(
            f"{where}: training.warmup_tokens = {study.training.warmup_tokens}: warmup must end before the first "
            f"branch point at {shortest:.0f} tokens; lower it or drop the budget {grid.budgets[0]}"
        )
    if tokens[0] < 2 * batch:
        raise UserError(f"{where}: grid.budgets: {grid.budgets[0]} is less than two batches of {batch} tokens")


def _check_precision(study: Study, where: str) -> None:
    training, how = study.training, study.execution.precision
    if training.precision != "fp32" and how != "fp32":
        raise UserError(
            f"{where}: training.precision = {training.precision!r}: execution.precision = {how!r} names another format "
            "for the same steps; set that to fp32"
        )
    if training.loss_scale and training.precision != "fp16":
        raise UserError(
            f"{where}: training.loss_scale = {training.loss_scale:g}: {training.precision} reaches down to 1e-38 and "
            "loses no gradient that a scale would save; take training.precision: fp16, or 0"
        )
    if training.loss_scale and study.model.feed_forward == "experts" and study.model.balance:
        raise UserError(
            f"{where}: training.loss_scale = {training.loss_scale:g}: the loss that balances experts enters behind it, "
            "and would be divided away; set model.balance: 0, or loss_scale: 0"
        )
    if training.loss_scale_interval and not training.loss_scale:
        raise UserError(
            f"{where}: training.loss_scale_interval = {training.loss_scale_interval}: there is no scale that could "
            "double; set training.loss_scale (65536), or 0"
        )


def _check_tune(study: Study, where: str) -> None:
    tune, training = study.tune, study.training
    if list(tune.rates) != sorted(set(tune.rates)):
        raise UserError(f"{where}: tune.rates = {list(tune.rates)}: list rates in growing order, each once")
    if len(tune.rates) == 2:
        raise UserError(f"{where}: tune.rates = {list(tune.rates)}: a best rate between others takes three or more")
    check_short_budget(f"{where}: tune.budget = {tune.budget}", tune.budget, training)


def _check_ladder(study: Study, where: str) -> None:
    ladder, warmup = study.ladder, study.training.warmup_tokens
    tokens = [tokens_of(budget) for budget in ladder.budgets]
    if tokens != sorted(set(tokens)):
        raise UserError(f"{where}: ladder.budgets = {list(ladder.budgets)}: list budgets in growing order, each once")
    if replicas := [size for size in ladder.sizes if "s" in size]:
        raise UserError(f"{where}: ladder.sizes: {replicas[0]}: list plain widths; ladder.seeds makes replicas")
    check_short_budget(f"{where}: ladder.budgets: {ladder.budgets[0]}", ladder.budgets[0], study.training)
    if ladder.warmup_tokens <= warmup:
        raise UserError(
            f"{where}: ladder.warmup_tokens = {ladder.warmup_tokens}: the long warmup; take more than "
            f"training.warmup_tokens = {warmup}"
        )


def check_short_budget(what: str, budget: str, training: Training) -> None:
    """Whether a run of its own can warm up and decay within a budget."""
    if tokens_of(budget) < 2 * training.batch_tokens:
        raise UserError(f"{what}: less than two batches of {training.batch_tokens} tokens")
    if training.warmup_tokens >= tokens_of(budget) * (1 - training.anneal_share):
        raise UserError(
            f"{what}: training.warmup_tokens = {training.warmup_tokens} must end before the rate decays; "
            "take a larger budget"
        )


def _segments(budgets: Sequence[str]) -> tuple[Segment, ...]:
    """The trunk's stretches that follow from the budgets; those above a quarter of the largest are forecast.

    The smallest is always known: without it there would be nothing to forecast from.
    """
    known = max(SEALED_ABOVE * max(map(tokens_of, budgets)), tokens_of(budgets[0]))
    return tuple(
        Segment(after, to, "forecast" if tokens_of(to) > known else "tokenizer")
        for after, to in zip((START, *budgets), budgets, strict=False)
    )


def _check_evaluation(study: Study, where: str) -> None:
    """What would otherwise come to light only after training."""
    mixture, pairs = study.mixture, study.mixture.seq_len // 2
    if mixture.seq_len % 2:
        raise UserError(f"{where}: mixture.seq_len = {mixture.seq_len}: must be even, skills come in pairs")
    if mixture.skill_share and not mixture.skills:
        raise UserError(f"{where}: mixture.skills = []: name skills, or set mixture.skill_share to 0")
    for entry in mixture.skills if mixture.skill_share else ():
        try:
            one = fitting(entry, mixture.seq_len + 1)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        if study.tokenizer.skill_symbols <= one.symbols:  # one stays free: it means nothing (prompts.calibration)
            raise UserError(
                f"{where}: tokenizer.skill_symbols = {study.tokenizer.skill_symbols}: skill {one.name} needs "
                f"{one.symbols + 1}; raise it, or drop the skill"
            )
    if mixture.validation_tokens < mixture.seq_len:
        raise UserError(f"{where}: mixture.validation_tokens = {mixture.validation_tokens}: less than one row")
    if max(study.shots.ks) >= pairs:
        raise UserError(
            f"{where}: shots.ks: {max(study.shots.ks)} examples do not fit; mixture.seq_len allows up to {pairs - 1}"
        )
    if study.shots.order_k >= pairs:
        raise UserError(
            f"{where}: shots.order_k = {study.shots.order_k}: does not fit; mixture.seq_len allows up to {pairs - 1}"
        )
    if study.emergence.k not in study.shots.ks:
        raise UserError(f"{where}: emergence.k = {study.emergence.k}: not in shots.ks = {list(study.shots.ks)}; add it")
    if max(study.emergence.exact_lengths) > pairs:
        raise UserError(f"{where}: emergence.exact_lengths: {max(study.emergence.exact_lengths)} is above {pairs}")
    names = [source.name for source in study.download.sources]
    if len(set(names)) != len(names):
        raise UserError(f"{where}: download.sources: names {names} repeat; give each source its own")
