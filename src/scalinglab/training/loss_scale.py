"""Loss scaling (Micikevicius et al. 2018, section 3.2): small gradients are lifted into the range of fp16.

The rule is torch.amp.GradScaler's: a step with a gradient that is not finite is skipped and halves the scale, and so
many steps without one double it. Its state is kept as named tensors here, so that checkpoints hold it.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from scalinglab.config import Training


class LossScale:
    """A factor on the loss that follows the rule, or stays fixed (loss_scale_interval of 0).

    skipped: steps that were not made so far; in_a_row: of them, those since the last that was.
    """

    PATIENCE = 20  # steps in a row after which a fixed scale is given up: it will skip all that follow

    def __init__(self, training: Training, parameters: Sequence[nn.Parameter]) -> None:
        self._initial, self._interval = training.loss_scale, training.loss_scale_interval
        device = parameters[0].device
        self._scaler = torch.amp.GradScaler(
            device.type, init_scale=self._initial, growth_interval=max(1, self._interval)
        )
        self._guarded = cast(Any, _Guarded(parameters))
        self.skipped = self.in_a_row = 0

    @property
    def scale(self) -> float:
        return self._scaler.get_scale()

    @property
    def stuck(self) -> bool:
        """Whether a fixed scale makes every gradient overflow: nothing is learnt, though the loss stays finite."""
        return not self._interval and self.in_a_row >= self.PATIENCE

    def backward(self, loss: Tensor) -> None:
        """Gradients of the scaled loss, divided by the scale."""
        self._scaler.scale(loss).backward()
        self._scaler.unscale_(self._guarded)

    def guard(self, update: Callable[[], None]) -> None:
        """Make the update, or skip it where a gradient was not finite; then let the scale follow its rule."""
        made = self._scaler.step(self._guarded, update) is not None
        self.skipped, self.in_a_row = self.skipped + (not made), 0 if made else self.in_a_row + 1
        self._scaler.update(None if self._interval else self._initial)

    def state_tensors(self) -> dict[str, Tensor]:
        state = self._scaler.state_dict()
        return {
            "loss_scale.scale": torch.tensor(state["scale"], dtype=torch.float32),
            "loss_scale.since": torch.tensor(state["_growth_tracker"]),
            "loss_scale.skipped": torch.tensor(self.skipped),
            "loss_scale.in_a_row": torch.tensor(self.in_a_row),
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Put the state back; one without (an initial one) leaves it as it is."""
        if "loss_scale.scale" in tensors:
            state = self._scaler.state_dict()
            state["scale"] = tensors["loss_scale.scale"].item()
            state["_growth_tracker"] = int(tensors["loss_scale.since"])
            self._scaler.load_state_dict(state)
            self.skipped, self.in_a_row = (int(tensors[f"loss_scale.{name}"]) for name in ("skipped", "in_a_row"))


class _Guarded:
    """What GradScaler takes for an optimiser: parameters, and a step that it makes or does not."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.param_groups = [{"params": parameters}]

    def step(self, update: Callable[[], None]) -> bool:
        update()
        return True
