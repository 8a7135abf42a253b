"""The figures of a study by name: each module has `draw(tables) -> Figure`.

Sizes are told apart by colour and by marker, intervals are drawn, and chance and Bayes lines stand where they exist.
"""

from collections.abc import Callable

from matplotlib.figure import Figure

from scalinglab.figures import (
    against_loss,
    context,
    counting,
    emergence,
    forecast,
    frontier,
    isoflop,
    labels,
    loss,
    mirage,
    multiverse,
    orders,
    phase,
    rates,
    regret,
    seeds,
    sharpness,
    shots,
    thresholds,
)
from scalinglab.figures.style import Tables

FIGURES: dict[str, Callable[[Tables], Figure]] = {
    "rates": rates.draw,
    "loss": loss.draw,
    "isoflop": isoflop.draw,
    "frontier": frontier.draw,
    "counting": counting.draw,
    "multiverse": multiverse.draw,
    "forecast": forecast.draw,
    "shots": shots.draw,
    "emergence": emergence.draw,
    "phase": phase.draw,
    "regret": regret.draw,
    "orders": orders.draw,
    "labels": labels.draw,
    "context": context.draw,
    "mirage": mirage.draw,
    "against_loss": against_loss.draw,
    "seeds": seeds.draw,
    "thresholds": thresholds.draw,
    "sharpness": sharpness.draw,
}
