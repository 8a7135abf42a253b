"""The reporting checklist for scaling laws (after Li et al. 2025, "(Mis)Fitting"), answered from a study's files."""

from typing import Any

import pandas as pd

from scalinglab.config import Study, width_of
from scalinglab.laws.analysis import MAIN
from scalinglab.laws.parametric import FOLLOWED, STARTS


def checklist(
    study: Study, cells: pd.DataFrame, laws: dict[str, Any], universes: pd.DataFrame, rate_law: dict[str, float]
) -> list[tuple[str, str]]:
    """(question, answer) of each point."""
    main, training = laws["conventions"][MAIN], study.training
    best = main["best_form"]
    search = main["forms"][best] if best else None
    repeated = sorted({width_of(size) for size in study.grid.sizes if "s" in size})
    answered = universes.dropna(subset="exponent_n")
    widths = sorted(cells["width"].unique())
    return [
        (
            "Form",
            "additive, L = E + A / N^alpha + B / D^beta, and Kaplan's, L = (A / N^alpha + B / D^beta)^gamma; "
            f"{best or 'neither'} fits better; N_opt ~ C^a also from iso-FLOP lines and the envelope",
        ),
        (
            "Counting",
            "N: parameters in matrix products (head yes, embedding no); C: exact training FLOPs of those products and "
            "of attention; all fits are repeated with total and with non-embedding parameters and C = 6ND",
        ),
        (
            "Runs",
            f"{len(cells)} cells: widths {', '.join(map(str, widths))}, budgets {', '.join(study.grid.budgets)}; "
            f"replicas at {', '.join(map(str, repeated)) or 'no width'}",
        ),
        (
            "Runs dropped",
            f"{laws['cells_diverged']} diverged, {laws['cells_left_out']} below {study.laws.min_tokens_per_param:g} "
            "tokens a parameter",
        ),
        (
            "Learning rates",
            f"peak {rate_law['prefactor']:g} width^{rate_law['exponent']:g}, fitted to sweeps of "
            f"{len(study.tune.rates)} rates at {', '.join(study.tune.sizes)} and {study.tune.budget} tokens; "
            f"{training.schedule}, {training.warmup_tokens:,} tokens of warmup, decay over "
            f"{100 * training.anneal_share:.0f} % of each budget; batch {training.batch_tokens:,} tokens",
        ),
        (
            "Fit objective",
            f"Huber loss of ln L, delta {study.laws.huber_delta:g}, summed over {main['cells']} cells; better form's: "
            + ("no fit" if search is None else f"{search['objective']:.4g}"),
        ),
        (
            "Initialisation",
            f"{len(STARTS):,} starts screened, {FOLLOWED} followed; "
            + (
                "no fit"
                if search is None
                else f"{100 * search['agreeing']:.0f} % of these the better form ended at the best, gradient "
                f"{search['gradient']:.0e} of the objective a unit, at the edge: "
                f"{', '.join(search['at_bounds']) or 'nothing'}"
            ),
        ),
        ("Validation", _validation(laws)),
        (
            "Sensitivity",
            f"{len(answered)} analyses give exponents from {answered['exponent_n'].min():.2f} to "
            f"{answered['exponent_n'].max():.2f}"
            if len(answered)
            else "no analysis gives an exponent",
        ),
        ("Uncertainty", _uncertainty(main)),
    ]


def _uncertainty(main: dict[str, Any]) -> str:
    fewer = {name: used for name, used in main["draws_used"].items() if used < main["resamples"]}
    without = "; ".join(f"{name} had an exponent in {used}" for name, used in fewer.items())
    return (
        f"{main['resamples']} resamples of whole trunks{f' ({without})' if without else ''}; replicas measure "
        "the noise between seeds"
    )


def _validation(laws: dict[str, Any]) -> str:
    score = laws["forecast"]
    if not score:
        return "no cells were held out: too few to forecast from"
    return (
        f"{score['cells']} cells of the largest budgets, sealed: mean relative error "
        f"{100 * score['forecast_mean_relative_error']:.1f} %, {100 * score['coverage_95']:.0f} % inside their 95 % "
        "intervals"
    )
