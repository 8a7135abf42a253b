"""In what number format a step computes: fp32, or mixed precision of 16 bits (Micikevicius et al. 2018).

Which tensor is of which type is decided by torch.autocast: products and what lies between them in 16 bits; weights,
moments, the residual stream, norms and the cross-entropy in fp32. On a CPU the products themselves are emulated.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from scalinglab.config import Execution, Training

FORMATS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
aten = torch.ops.aten
PRODUCTS = {
    aten.mm.default,
    aten.addmm.default,
    aten.bmm.default,
    aten._scaled_dot_product_flash_attention_for_cpu.default,
    aten._scaled_dot_product_flash_attention_for_cpu_backward.default,
}


class RoundedProducts(TorchDispatchMode):
    """Products of 16-bit tensors, forward and backward, as tensor cores make them: summed in fp32, rounded once.

    A product of two 16-bit numbers is exact in fp32. torch's own kernels give the same, but few CPUs have instructions
    for fp16, and without them a step takes several times as long. Attention is fp32 inside, and rounded where it ends.
    """

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        dtype = args[0].dtype if func in PRODUCTS else torch.float32
        if dtype not in (torch.float16, torch.bfloat16):
            return func(*args, **kwargs)
        found = func(*map(_widened, args), **{name: _widened(value) for name, value in kwargs.items()})
        if func is aten._scaled_dot_product_flash_attention_for_cpu.default:
            return found[0].to(dtype), found[1]  # the logarithms of its sums are fp32 in torch's own as well
        return tuple(one.to(dtype) for one in found) if isinstance(found, tuple) else found.to(dtype)


def _widened(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16) else value


def lowered(training: Training, execution: Execution) -> str:
    """The format that a step computes in: what the study says, or else how it is run."""
    return execution.precision if training.precision == "fp32" else training.precision


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """The forward pass belongs inside, the backward pass does not."""
    return torch.autocast(device.type, dtype=FORMATS[precision], enabled=precision != "fp32")


def products(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Both passes belong inside: on a CPU the products of a study's format are emulated, so that all CPUs agree."""
    return RoundedProducts() if emulated(precision, device) else nullcontext()


def emulated(precision: str, device: torch.device) -> bool:
    """Whether products of a study's format are made of fp32 ones."""
    return precision != "fp32" and device.type == "cpu"
