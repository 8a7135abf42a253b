"""What is claimed of neighbours is judged on documents that chose nothing, and its interval is over documents."""

import numpy as np
import pytest

from scalinglab.measurements.retrieval import HeldOut


def held(judges: list[bool]) -> HeldOut:
    """Four documents of three tokens each, the model alone at 2 nats."""
    document_Q = np.repeat(np.arange(4), 3)
    return HeldOut(np.zeros((4, 4), np.uint16), document_Q, np.repeat(judges, 3), np.full(12, 2.0), seed=0)


def test_choosing_and_judging_look_at_different_documents() -> None:
    nats = np.repeat([1.0, 5.0, 1.0, 7.0], 3)
    one = held([True, False, True, False])
    assert one.choosing(nats) == 6
    assert one.judged(nats) == {"model alone": 2, "nats": 1, "difference": -1, "low": -1, "high": -1}


def test_the_interval_is_that_of_documents() -> None:
    """Of two judges each is drawn twice a quarter of the time: so the quantiles are the judges themselves."""
    found = held([True, True, False, False]).judged(np.repeat([1.0, 2.5, 9.0, 9.0], 3))
    assert (found["difference"], found["low"], found["high"]) == pytest.approx((-0.25, -1, 0.5))


def test_no_such_token_is_no_number() -> None:
    none = held([True] * 4).judged(np.zeros(12), np.zeros(12, bool))
    assert all(np.isnan(float(value)) for value in none.values())
