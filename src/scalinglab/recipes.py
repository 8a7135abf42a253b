"""How the runs of the ladder are trained (laws/ladder.py): each recipe changes one thing of the one before it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """How runs are trained: with the long warmup, with a decay to zero, with rates that follow size."""

    long_warmup: bool
    decay: bool
    rate_by_size: bool


RECIPES = {
    "base": Recipe(long_warmup=True, decay=False, rate_by_size=False),
    "warmup": Recipe(long_warmup=False, decay=False, rate_by_size=False),
    "decay": Recipe(long_warmup=False, decay=True, rate_by_size=False),
    "tuned": Recipe(long_warmup=False, decay=True, rate_by_size=True),
}
