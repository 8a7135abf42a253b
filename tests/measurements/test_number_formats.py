"""What is measured of gradients, where it is known, and a text made of its tables."""

import pandas as pd
import pytest
import torch

from scalinglab.config import Study
from scalinglab.measurements import number_formats
from tests.training.test_training import fresh, make_batches, run


def test_octaves_of_known_numbers() -> None:
    rows = number_formats.octaves("x", torch.tensor([0.0, 1.0, -1.99, 2.0, 0.25, 2.0**-30, 2.0**-140]))
    assert {row["octave"]: row["share"] for row in rows} == pytest.approx(
        {0: 2 / 6, 1: 1 / 6, -2: 1 / 6, -30: 1 / 6, -140: 1 / 6}
    )


def test_every_parameter_is_of_some_kind(smoke: Study) -> None:
    model, _ = fresh(smoke)
    found = {name: number_formats.kind_of(name) for name, _ in model.named_parameters()}
    for name, kind in found.items():
        assert (kind == "vectors") == (model.get_parameter(name).dim() == 1), name
    assert set(found.values()) == {"embedding", "head", "attention", "feed-forward", "vectors"}


def test_gradients_of_logits_are_autograds(smoke: Study) -> None:
    """Through the head: their product with the features is the gradient of its weight."""
    model, optimiser = fresh(smoke)
    run(smoke, model, optimiser, 0, 3, 0.1)
    batch = make_batches()[3]
    features_ND = model.hidden(batch.tokens_BT).flatten(0, 1)[batch.scored_N]
    (expected,) = torch.autograd.grad(
        model.loss(batch.tokens_BT, batch.targets_BT, batch.scored_N), [model.head.weight]
    )
    torch.testing.assert_close(number_formats.logit_gradients(model, batch).t() @ features_ND, expected)


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    held = {name: torch.finfo(dtype) for name, dtype in number_formats.FORMATS.items()}
    formats = [
        {
            "format": name,
            "bits": one.bits,
            "epsilon": one.eps,
            "smallest normal": one.smallest_normal,
            "smallest": one.smallest_normal * one.eps,
            "largest": one.max,
            "device": "cpu",
            "emulated": int(name != "fp32"),
            "seconds": 0.1,
            "seconds of the library": 0.4,
            "off the library": 0.001,
        }
        for name, one in held.items()
    ]
    scales = [
        {
            "format": name,
            "log2 scale": power,
            "size": "d8",
            "tokens": "4k",
            "weights": kind,
            "flushed": 0.3 if name == "fp16" and power < 4 else 0.0,
            "overflowed": 0.01 if name == "fp16" and power > 16 else 0.0,
            # Where some overflow, those that do not are no better than where none does.
            "error": 0.5 if power < 4 else 0.25 if power == 4 else 0.1,
        }
        for name in ("fp16", "bf16")
        for power in (-2, 0, 4, 18)
        for kind in ("head", number_formats.WHOLE)
    ]
    # Below half of 2^-24 are octaves up to -26; -25 is between half and the whole, and rounds up.
    magnitudes = [{"of": "logits", "octave": e, "share": share} for e, share in ((-30, 0.5), (-26, 0.2), (-25, 0.3))]
    return {"formats": pd.DataFrame(formats), "scales": pd.DataFrame(scales), "magnitudes": pd.DataFrame(magnitudes)}


def test_the_text_is_made_of_the_tables(tables: dict[str, pd.DataFrame]) -> None:
    said = number_formats.findings(tables)
    assert "| fp16 | 16 | 0.00098 | 6e-08 | 6.1e-05 | 6.55e+04 | 50.00% |" in said
    assert "fp16 makes 30.0% of the weights' gradients zero: head 30.0%." in said
    assert "70% are zero in fp16" in said
    assert "are 2^4 to 2^4: 25.00% off, at most\n0.00% zero. From 2^18 on some overflow" in said
    assert "fp16 is emulated (products" in said
    assert "a step takes 100 ms, by the library 400, and gradients are 0.10% off the library's" in said
    native = number_formats.findings(tables | {"formats": tables["formats"].assign(emulated=0)})
    assert "fp16 is the device's own on this cpu" in native
    assert set(number_formats.figures(tables)) == {"formats"}
