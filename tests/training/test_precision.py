"""Products of 16 bits are those of exact arithmetic, rounded once; and everything else is the library's."""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from scalinglab.config import Study
from scalinglab.model.attention import ATTENTIONS
from scalinglab.model.decoder import Decoder
from scalinglab.training.loop import Stretch, train
from scalinglab.training.precision import FORMATS, RoundedProducts, autocast, lowered, products
from scalinglab.training.schedule import Rates
from tests.training.test_training import fresh, make_batches, run

CPU = torch.device("cpu")
HALVES = ("bf16", "fp16")


def few_digits(*shape: int, seed: int) -> torch.Tensor:
    """Numbers up to 2^-12 that 16 bits hold exactly, as fp32 does their products and sums, of 2^-24 or so."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-64, 65, shape, generator=generator) * 2.0**-18


@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize("shape", [(5, 7, 3), (2, 5, 7, 3)], ids=["mm", "bmm"])
@pytest.mark.parametrize("size", [1.0, 2.0**20], ids=["flushed", "rounded"])
def test_products_and_their_gradients_are_exact_ones_rounded(name: str, shape: tuple[int, ...], size: float) -> None:
    *batch, n, k, m = shape
    dtype = FORMATS[name]
    a, b, g = (few_digits(*batch, *dims, seed=i) for i, dims in enumerate([(n, k), (k, m), (n, m)]))
    a = a * size
    low_a, low_b = (x.to(dtype).requires_grad_() for x in (a, b))
    with RoundedProducts():
        y = low_a @ low_b
        found = torch.autograd.grad(y, (low_a, low_b), g.to(dtype))
    exact_y, exact_a, exact_b = a.double() @ b.double(), g.double() @ b.double().mT, a.double().mT @ g.double()
    for ours, exact in zip((y, *found), (exact_y, exact_a, exact_b), strict=True):
        assert torch.equal(ours, exact.to(dtype))
    if name == "fp16" and size == 1:
        assert (y == 0).sum() > (exact_y == 0).sum(), "the case holds products that are flushed to zero"


class Seen(TorchDispatchMode):
    """The types that products are computed in. Entered first, it sees what a mode within it makes of them."""

    def __init__(self) -> None:
        super().__init__()
        self.types: set[torch.dtype] = set()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if re.match(r"aten\.(\w*mm|\w*dot\w*|\w*linear\w*)\.", str(func)):
            self.types |= {arg.dtype for arg in args if isinstance(arg, torch.Tensor)}
        return func(*args, **(kwargs or {}))


def gradients(model: Decoder, name: str, emulate: bool, scale: float = 1.0) -> tuple[torch.Tensor, list[torch.Tensor]]:
    batch = make_batches()[0]
    with products(name if emulate else "fp32", CPU):
        with autocast(name, CPU):
            loss = model.loss(batch.tokens_BT, batch.targets_BT, batch.scored_N)
        found = torch.autograd.grad(loss * scale, list(model.parameters()))
    return loss, [one / scale for one in found]


@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_no_product_of_a_step_is_left_to_the_library(smoke: Study, name: str, attention: str) -> None:
    model, _ = fresh(dataclasses.replace(smoke, model=dataclasses.replace(smoke.model, attention=attention, window=4)))
    with Seen() as library:
        gradients(model, name, emulate=False)
    assert FORMATS[name] in library.types
    with Seen() as ours:
        gradients(model, name, emulate=True)
    assert ours.types == {torch.float32}


@pytest.mark.parametrize(("name", "tolerance"), [("bf16", 2e-2), ("fp16", 2e-3)])
def test_gradients_are_the_librarys_to_the_last_digits(smoke: Study, name: str, tolerance: float) -> None:
    model, optimiser = fresh(smoke)
    run(smoke, model, optimiser, 0, 5, 0.1)
    scale = 1024.0 if name == "fp16" else 1.0
    (ours, found), (theirs, expected) = (gradients(model, name, emulate, scale) for emulate in (True, False))
    assert ours.dtype == torch.float32
    assert ours.item() == pytest.approx(theirs.item(), rel=tolerance / 4)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        assert (one - other).norm() <= tolerance * other.norm()


@pytest.mark.parametrize(("name", "scale", "arrives"), [("fp16", 1, False), ("fp16", 4, True), ("bf16", 1, True)])
def test_half_of_the_smallest_number_is_flushed_and_a_scale_saves_it(name: str, scale: int, arrives: bool) -> None:
    """2^-25 rounds to the even neighbour of 0 and 2^-24, and that is 0."""
    x, weight = torch.ones(1, 1), torch.ones(1, 1, requires_grad=True)
    with products(name, CPU):
        with autocast(name, CPU):
            y = (x @ weight.t()).float()
        (gradient,) = torch.autograd.grad((y * 2.0**-25 * scale).sum(), weight)
    assert gradient.item() / scale == (2.0**-25 if arrives else 0)


def changed(study: Study, **values: object) -> Study:
    return dataclasses.replace(study, training=dataclasses.replace(study.training, **values))  # type: ignore[arg-type]


@pytest.mark.parametrize("values", [{"precision": "bf16"}, {"precision": "fp16", "loss_scale": 256.0}])
def test_training_computes_in_the_studys_format(smoke: Study, values: dict[str, Any]) -> None:
    """Near fp32, but not it; and the weights themselves stay fp32."""
    plain, lower = fresh(smoke), fresh(changed(smoke, **values))
    losses = [
        run(study, *pair, 0, 10, 0.1)[-1].loss for study, pair in ((smoke, plain), (changed(smoke, **values), lower))
    ]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert {tensor.dtype for tensor in lower[0].state_dict().values()} == {torch.float32}


def test_an_emulated_format_is_never_compiled(smoke: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled code makes its products itself, where they could not be rounded."""
    monkeypatch.setattr(torch, "compile", lambda function: pytest.fail("compiled"))
    study = changed(smoke, precision="fp16")
    study = dataclasses.replace(study, execution=dataclasses.replace(study.execution, compile=True))
    model, optimiser = fresh(study)
    assert train(
        model,
        optimiser,
        make_batches(),
        Stretch(0, 1),
        lambda _: Rates.alike(0.1),
        study.training,
        study.execution,
        lambda *_: None,
        0,
    )


def test_the_studys_format_goes_before_that_of_the_execution(smoke: Study) -> None:
    fast = dataclasses.replace(smoke.execution, precision="bf16")
    assert lowered(smoke.training, smoke.execution) == "fp32"
    assert lowered(smoke.training, fast) == "bf16"
    assert lowered(changed(smoke, precision="fp16").training, smoke.execution) == "fp16"
