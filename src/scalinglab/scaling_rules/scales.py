"""How large the tensors of a training step are: weights, what products read, and the gradients that come back."""

from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from scalinglab.model.decoder import Decoder
from scalinglab.scaling_rules.coordinates import rms
from scalinglab.training.data import Batch

KINDS = ("weights", "activations", "gradients", "weight gradients")


def tensor_scales(model: Decoder, batch: Batch) -> list[dict[str, Any]]:
    """A row a tensor of one training step: its kind, its name, its root mean square.

    activations: what each product of a block reads, at the scale that it reads it. gradients: what comes back to what
    each gives. Norms and shifts are left out. The gradients that are made here are dropped again.
    """
    products = {name: one for name, one in model.blocks.named_modules() if isinstance(one, nn.Linear)}
    rows: list[dict[str, Any]] = []

    def keep(kind: str, name: str, tensor: Tensor, factor: float = 1.0) -> None:
        rows.append({"kind": kind, "tensor": name, "rms": factor * rms(tensor)})

    def read(name: str, gain: float, product: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        keep("activations", name, inputs[0], gain)

    def sent_back(name: str, product: nn.Module, _: object, grads: tuple[Tensor, ...] | Tensor) -> None:
        keep("gradients", name, grads[0])

    hooks: list[RemovableHandle] = []
    for name, product in products.items():
        gain = float(getattr(product, "gain", 1.0))
        hooks += [
            product.register_forward_pre_hook(partial(read, name, gain)),
            product.register_full_backward_hook(partial(sent_back, name)),
        ]
    model.train()
    model.loss(batch.tokens_BT, batch.targets_BT, batch.scored_N).backward()
    for hook in hooks:
        hook.remove()
    for name, parameter in model.named_parameters():
        if parameter.dim() >= 2:
            keep("weights", name, parameter)
            if parameter.grad is not None:
                keep("weight gradients", name, parameter.grad)
        parameter.grad = None
    return rows
