"""AdamW (Loshchilov & Hutter 2019) with decay on matrices only, and its state as named tensors."""

from typing import Any

import torch
from torch import Tensor, nn

from scalinglab.config import Training

MOMENTS = ("exp_avg", "exp_avg_sq")


def make_optimiser(model: nn.Module, training: Training) -> torch.optim.AdamW:
    """Fused AdamW: one kernel over all tensors. Vectors (norms, shifts) and the embedding do not decay."""
    decayed = [p for name, p in model.named_parameters() if p.dim() == 2 and name != "embedding.weight"]
    plain = [p for name, p in model.named_parameters() if p.dim() != 2 or name == "embedding.weight"]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": training.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=(training.beta1, training.beta2), eps=training.eps, fused=True)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate


def state_tensors(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Weights and moments under `model.`, `exp_avg.` and `exp_avg_sq.`."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        state = optimiser.state.get(parameter)
        if state:
            tensors |= {f"{moment}.{name}": state[moment] for moment in MOMENTS}
    return tensors


def restore_state(model: nn.Module, optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor], step: int) -> None:
    """Put weights and moments back; a state without moments (an initial one) leaves the optimiser fresh."""
    prefix = "model."
    model.load_state_dict({n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)})
    for name, parameter in model.named_parameters():
        if f"exp_avg.{name}" in tensors:
            optimiser.state[parameter] = {
                "step": torch.tensor(float(step), device=parameter.device),
                **{moment: tensors[f"{moment}.{name}"].to(parameter.device) for moment in MOMENTS},
            }
