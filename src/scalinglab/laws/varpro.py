"""The surface by variable projection (Golub & Pereyra 1973): at fixed exponents it is linear in E, A and B.

The search is over (alpha, beta) alone, a plane that can be looked at whole; the inner problem has one solution. Its
objective is the squared relative error, half the sum, so it compares with `squared` of the parametric fit.
"""

import itertools

import numpy as np
from scipy.optimize import minimize, nnls

from scalinglab.errors import UserError
from scalinglab.laws.points import Array, Points
from scalinglab.laws.surface import Surface

EXPONENTS = np.geomspace(0.03, 2.5, 16)


def fit(data: Points) -> Surface:
    """The surface of least squared relative error. Raises UserError where there are no more cells than parameters."""
    if len(data) <= 5:
        raise UserError(f"a fit of 5 parameters needs more than {len(data)} cells; widen the grid")
    coarse = min(itertools.product(EXPONENTS, EXPONENTS), key=lambda pair: inner(np.array(pair), data)[0])
    found = minimize(
        lambda ln: inner(np.exp(ln), data)[0],
        np.log(coarse),
        method="Nelder-Mead",
        options={"xatol": 1e-7, "fatol": 1e-16, "maxiter": 2000},
    )
    alpha, beta = np.exp(found.x)
    _, (e, a, b) = inner(np.array([alpha, beta]), data)
    return Surface(E=float(e), A=float(a), B=float(b), alpha=float(alpha), beta=float(beta))


def inner(exponents: Array, data: Points) -> tuple[float, Array]:
    """Half the squared relative error at these exponents, and its (E, A, B), none of them negative."""
    alpha, beta = exponents
    # In units of the geometric means, the columns are of one scale whatever the exponents.
    scale_n, scale_d = np.exp(np.log(data.n).mean()), np.exp(np.log(data.d).mean())
    design = np.stack([np.ones(len(data)), (data.n / scale_n) ** -alpha, (data.d / scale_d) ** -beta], axis=1)
    coefficients, norm = nnls(design / data.loss[:, None], np.ones(len(data)))
    e, a, b = coefficients
    return 0.5 * float(norm) ** 2, np.array([e, a * scale_n**alpha, b * scale_d**beta])
