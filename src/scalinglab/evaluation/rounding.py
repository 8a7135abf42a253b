"""What a number format does to gradients: which become zero, which overflow, and how far they are off."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass

from torch import Tensor, autograd

from scalinglab.model.decoder import Decoder
from scalinglab.training.data import Batch
from scalinglab.training.precision import autocast, products


@dataclass(frozen=True)
class Damage:
    """Sums over elements: how many are not zero in fp32; of these, how many became zero (flushed) or not finite
    (overflowed); and squares of the error, of those that are finite, and of what they are in fp32."""

    elements: int = 0
    flushed: int = 0
    overflowed: int = 0
    squared_error: float = 0.0
    squares: float = 0.0

    def __add__(self, other: "Damage") -> "Damage":
        return Damage(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def shares(self) -> dict[str, float]:
        """Shares of the elements, and the error's norm relative to the gradient's."""
        elements = max(1, self.elements)
        error = (self.squared_error / self.squares) ** 0.5 if self.squares else 0.0
        return {"flushed": self.flushed / elements, "overflowed": self.overflowed / elements, "error": error}


def gradients_in(model: Decoder, batch: Batch, precision: str, scale: float = 1.0) -> dict[str, Tensor]:
    """Gradients by parameter as they reach the weights, of a loss that was multiplied by `scale`; they are divided."""
    device = next(model.parameters()).device
    model.train()
    with products(precision, device):
        with autocast(precision, device):
            loss = model.loss(batch.tokens_BT.to(device), batch.targets_BT.to(device), batch.scored_N.to(device))
        found = autograd.grad(loss * scale, list(model.parameters()))
    return {name: one / scale for (name, _), one in zip(model.named_parameters(), found, strict=True)}


def damage(exact: Mapping[str, Tensor], rounded: Mapping[str, Tensor]) -> dict[str, Damage]:
    """By parameter, what became of gradients in fp32."""
    return {name: _damage(one, rounded[name]) for name, one in exact.items()}


def _damage(exact: Tensor, rounded: Tensor) -> Damage:
    counted, finite = exact != 0, rounded.isfinite()
    exact_N, off_N = exact[finite].double(), (rounded - exact)[finite].double()
    return Damage(
        int(counted.sum()),
        int((counted & (rounded == 0)).sum()),
        int((counted & ~finite).sum()),
        float(off_N.square().sum()),
        float(exact_N.square().sum()),
    )
