"""Approach 3 of Hoffmann et al. (2022): L(N, D) = E + A / N^alpha + B / D^beta, fitted by Huber loss on ln L."""

import itertools
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

from scalinglab.errors import UserError

Array = NDArray[np.float64]
# Starting points, a thinned form of the paper's grid (appendix D.4): ln A, ln B, ln E, alpha, beta.
STARTS = tuple(itertools.product((0.0, 10.0), (0.0, 10.0), (-1.0, 0.5), (0.2, 0.8), (0.2, 0.8)))
PARAMETERS = 5


@dataclass(frozen=True)
class Surface:
    """L(N, D) = E + A / N^alpha + B / D^beta, in the unit of the losses it was fitted to."""

    E: float
    A: float
    B: float
    alpha: float
    beta: float

    def loss(self, n: Array, d: Array) -> Array:
        return self.E + self.A * n**-self.alpha + self.B * d**-self.beta

    @property
    def exponent_n(self) -> float:
        """a of N_opt ~ C^a for C = 6 N D: beta / (alpha + beta) (Hoffmann et al. 2022, eq. 4)."""
        return self.beta / (self.alpha + self.beta)

    def as_dict(self) -> dict[str, float]:
        return {**asdict(self), "exponent_n": self.exponent_n}


def objective(theta: Array, ln_n: Array, ln_d: Array, ln_loss: Array, delta: float) -> tuple[float, Array]:
    """Sum of Huber losses of ln L (Hoffmann et al. 2022, eq. 3) and its gradient in (ln A, ln B, ln E, alpha, beta)."""
    ln_a, ln_b, ln_e, alpha, beta = theta
    terms = np.stack([ln_a - alpha * ln_n, ln_b - beta * ln_d, np.full_like(ln_n, ln_e)])
    prediction = logsumexp(terms, axis=0)
    residual = prediction - ln_loss
    inside = np.abs(residual) <= delta
    value = np.where(inside, 0.5 * residual**2, delta * (np.abs(residual) - 0.5 * delta)).sum()
    slope = np.where(inside, residual, delta * np.sign(residual))
    share = np.exp(terms - prediction)
    by_term = share * slope
    gradient = [
        by_term[0].sum(),
        by_term[1].sum(),
        by_term[2].sum(),
        -(by_term[0] @ ln_n),
        -(by_term[1] @ ln_d),
    ]
    return float(value), np.array(gradient)


def fit(n: Array, d: Array, loss: Array, delta: float, starts: tuple[tuple[float, ...], ...] = STARTS) -> Surface:
    """The best surface over many starts (BFGS with the exact gradient).

    n: parameters, d: tokens, loss: nats a token, all [cells]. Raises UserError for fewer cells than parameters and
    for losses that are not positive numbers.
    """
    if len(loss) <= PARAMETERS:
        raise UserError(f"a fit of {PARAMETERS} parameters needs more than {len(loss)} cells; widen the grid")
    if not np.all(np.isfinite(loss) & (loss > 0)):
        raise UserError(f"losses must be positive numbers, not {loss[~(np.isfinite(loss) & (loss > 0))][:3].tolist()}")
    # Centred logarithms make the five directions comparable in scale, and the search short.
    centre_n, centre_d = float(np.log(n).mean()), float(np.log(d).mean())
    data = (np.log(n) - centre_n, np.log(d) - centre_d, np.log(loss), delta)
    best_value, best = np.inf, np.zeros(PARAMETERS)
    for start in starts:
        ln_a, ln_b, ln_e, alpha, beta = start
        moved = np.array([ln_a - alpha * centre_n, ln_b - beta * centre_d, ln_e, alpha, beta])
        result = minimize(objective, moved, args=data, jac=True, method="BFGS", options={"maxiter": 2000})
        if result.fun < best_value:
            best_value, best = float(result.fun), result.x
    ln_a, ln_b, ln_e, alpha, beta = (float(value) for value in best)
    return Surface(
        E=float(np.exp(ln_e)),
        A=float(np.exp(ln_a + alpha * centre_n)),
        B=float(np.exp(ln_b + beta * centre_d)),
        alpha=alpha,
        beta=beta,
    )


def start_of(surface: Surface) -> tuple[float, ...]:
    """A surface as a starting point: a resample's optimum is near the whole sample's."""
    return (
        float(np.log(surface.A)),
        float(np.log(surface.B)),
        float(np.log(max(surface.E, 1e-12))),
        surface.alpha,
        surface.beta,
    )
