"""The head and its cross-entropy in one pass over small blocks of rows.

At these widths the logits are the largest tensor of a step by far (2,048 x 1,088 floats are 9 MB, beyond the cache).
Computing a block of logits, its loss and both gradients while the block is in cache makes a step about a third
cheaper than head, log-softmax and their backward passes one after the other (benchmarks/training_speed.py).
"""

from typing import Any

import torch
from torch import Tensor

BLOCK = 128  # rows of logits at once: 128 x 1,088 floats are half a megabyte


class LinearCrossEntropy(torch.autograd.Function):
    """Mean over rows of -log softmax(x W^T)[target], in nats. Its gradients are made in the forward pass.

    smoothing: share of each target that is spread evenly over the vocabulary (Szegedy et al. 2016, section 7).
    """

    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, weight_VD: Tensor, target_N: Tensor, smoothing: float) -> Tensor:
        n = x_ND.shape[0]
        grad_x_ND = torch.empty_like(x_ND)
        grad_weight_VD = torch.zeros_like(weight_VD)
        total = x_ND.new_zeros(())
        for start in range(0, n, BLOCK):
            x, target = x_ND[start : start + BLOCK], target_N[start : start + BLOCK, None]
            p = x @ weight_VD.t()  # logits, turned into their gradient in place
            gold = p.gather(1, target)
            wanted = torch.lerp(gold, p.mean(dim=1, keepdim=True), smoothing) if smoothing else gold
            top = p.amax(dim=1, keepdim=True)
            p.sub_(top).exp_()
            normaliser = p.sum(dim=1, keepdim=True)
            total += (normaliser.log() + top - wanted).sum()
            p.mul_(1 / (n * normaliser))
            p.scatter_add_(1, target, torch.full_like(gold, -(1 - smoothing) / n))
            if smoothing:
                p.sub_(smoothing / (n * p.shape[1]))
            torch.mm(p, weight_VD, out=grad_x_ND[start : start + BLOCK])
            grad_weight_VD.addmm_(p.t(), x)
        ctx.save_for_backward(grad_x_ND, grad_weight_VD)
        return total / n

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_x_ND, grad_weight_VD = ctx.saved_tensors
        return grad_x_ND * grads[0], grad_weight_VD * grads[0], None, None


def linear_cross_entropy(x_ND: Tensor, weight_VD: Tensor, target_N: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy in nats of targets [N], smoothed or not, under the head weight_VD at x_ND."""
    if torch.is_autocast_enabled(x_ND.device.type) or x_ND.dtype != torch.float32:
        # Under autocast the library's own path chooses the precision of each step.
        return torch.nn.functional.cross_entropy((x_ND @ weight_VD.t()).float(), target_N, label_smoothing=smoothing)
    return LinearCrossEntropy.apply(x_ND, weight_VD, target_N, smoothing)
