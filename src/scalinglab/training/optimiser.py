"""AdamW (Loshchilov & Hutter 2019, algorithm 2) with decay on matrices only, and its state as named tensors.

The update is torch's own fused kernel, called as a function: the classes in torch.optim import torch's compiler when
they are made, 1.7 s of CPU time a process, longer than many a job trains.
"""

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from scalinglab.config import Training
from scalinglab.model.decoder import Decoder
from scalinglab.training.loss_scale import LossScale
from scalinglab.training.schedule import Rates


class AdamW:
    """The moments of a model's parameters. Vectors (norms, shifts) and tables (embedding, positions) do not decay.

    loss_scale: what gradients are made with; None where the loss is not scaled.
    """

    def __init__(self, model: Decoder, training: Training) -> None:
        self._model, self._training = model, training
        named = dict(model.named_parameters())
        tables = ("embedding.", "position.")
        decayed = [name for name, p in named.items() if p.dim() == 2 and not name.startswith(tables)]
        # An embedding that is the head as well moves with all else.
        own = training.embedding_rate > 0 and model.head.weight is not model.embedding.weight
        # By decay, what the parametrisation multiplies the rate with, and whether that is the embedding's own, which
        # is the same in all of them: it starts at unit scale in each.
        self._groups: dict[tuple[float, float, bool], list[str]] = {}
        for name in (*decayed, *(name for name in named if name not in set(decayed))):
            rule = model.rule_of(name)
            decay = training.weight_decay * rule.decay if name in set(decayed) else 0.0
            apart = own and name == "embedding.weight"
            self._groups.setdefault((decay, 1.0 if apart else rule.rate, apart), []).append(name)
        self._named = named
        self._first = {name: torch.zeros_like(p) for name, p in named.items()}
        self._second = {name: torch.zeros_like(p) for name, p in named.items()}
        self._steps = {name: torch.zeros((), device=p.device) for name, p in named.items()}
        self.loss_scale = LossScale(training, list(named.values())) if training.loss_scale else None

    @property
    def stuck(self) -> bool:
        """Whether no more steps will be made (see LossScale)."""
        return self.loss_scale is not None and self.loss_scale.stuck

    def backward(self, loss: Tensor) -> None:
        """Give every parameter its gradient, through the loss scale where there is one."""
        if self.loss_scale is None:
            loss.backward()
        else:
            self.loss_scale.backward(loss)

    def step(self, rates: Rates) -> None:
        """Update every parameter from its gradient, and drop the gradients.

        Where a scaled loss gave gradients that are not finite, weights and moments stay as they are.
        """
        if self.loss_scale is None:
            self._update(rates)
        else:
            self.loss_scale.guard(lambda: self._update(rates))
        for parameter in self._named.values():
            parameter.grad = None

    @torch.no_grad()
    def _update(self, rates: Rates) -> None:
        for (decay, factor, apart), all_names in self._groups.items():
            names = [name for name in all_names if self._named[name].grad is not None]
            grads = [grad for name in names if (grad := self._named[name].grad) is not None]
            adamw(
                [self._named[name] for name in names],
                grads,
                [self._first[name] for name in names],
                [self._second[name] for name in names],
                [],
                [self._steps[name] for name in names],
                fused=True,
                amsgrad=False,
                beta1=self._training.beta1,
                beta2=self._training.beta2,
                lr=(rates.embedding if apart else rates.others) * factor,
                weight_decay=decay,
                eps=self._training.eps,
                maximize=False,
            )

    def state_tensors(self) -> dict[str, Tensor]:
        """Weights and moments under `model.`, `exp_avg.` and `exp_avg_sq.`, the loss scale under `loss_scale.`."""
        tensors = {f"model.{name}": tensor for name, tensor in self._model.state_dict().items()}
        tensors |= {f"exp_avg.{name}": tensor for name, tensor in self._first.items()}
        tensors |= {f"exp_avg_sq.{name}": tensor for name, tensor in self._second.items()}
        return tensors | (self.loss_scale.state_tensors() if self.loss_scale else {})

    def restore(self, tensors: dict[str, Tensor], step: int) -> None:
        """Put weights, moments and loss scale back; a state without moments (an initial one) leaves them at zero."""
        prefix = "model."
        self._model.load_state_dict({n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)})
        updates = step
        if self.loss_scale:
            self.loss_scale.restore(tensors)
            updates -= self.loss_scale.skipped
        for name in self._named:
            if f"exp_avg.{name}" in tensors:
                self._first[name].copy_(tensors[f"exp_avg.{name}"])
                self._second[name].copy_(tensors[f"exp_avg_sq.{name}"])
                self._steps[name].fill_(updates)
