"""What is measured of a trained model beside its held-out loss, by name in studies/*.yaml."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from scalinglab.config import Study
from scalinglab.evaluation.answers import answer
from scalinglab.evaluation.in_context import ROLES, attention_weights, repeated_rows, roles_on_copies
from scalinglab.evaluation.rounding import Damage, damage, gradients_in
from scalinglab.evaluation.text import token_losses
from scalinglab.model.decoder import Decoder
from scalinglab.model.experts import Experts
from scalinglab.model.positions import LearnedPosition
from scalinglab.skills import skill
from scalinglab.training.data import Batches
from scalinglab.training.loop import Point
from scalinglab.training.loss_scale import LossScale
from scalinglab.training.precision import emulated

BATCH_TOKENS = 4096
DOCUMENTS = 256  # of each skill
ROUNDED_BATCHES = 4  # over which gradients of a number format are compared with those of fp32
NOISE_TOKENS = 131_072  # over which the noise of gradients is measured


@dataclass(frozen=True)
class TrainedModel:
    """A trained model, its study, and what it was trained on.

    held_out: text as one stream of token ids. skill_offset: the id of the skills' symbol 0. curve: of training, which
    ended after `steps` of the batches. loss_scale: as it was then; None where the loss was not scaled.
    """

    model: Decoder
    study: Study
    held_out: NDArray[np.uint16]
    skill_offset: int
    batches: Batches
    steps: int
    curve: Sequence[Point]
    loss_scale: LossScale | None = None


def context_length(trained: TrainedModel) -> dict[str, float]:
    """Mean nats on the same held-out tokens, read in windows of once, twice and four times the trained length.

    A code that extrapolates gains from a longer past. NaN where it has nothing to say beyond its table.
    """
    shape = trained.model.shape
    longest = 4 * shape.seq_len
    n = (len(trained.held_out) - 1) // longest
    stream = trained.held_out[: n * longest + 1]
    found = {}
    for times in (1, 2, 4):
        length = times * shape.seq_len
        key = f"loss at {times}x"
        if times > 1 and isinstance(trained.model.position, LearnedPosition):
            found[key] = float("nan")
            continue
        longer = Decoder(replace(shape, seq_len=length), trained.study.model)
        longer.load_state_dict(trained.model.state_dict())
        rows_RT = np.lib.stride_tricks.sliding_window_view(stream, length + 1)[::length]
        longer.to(next(trained.model.parameters()).device)
        found[key] = float(token_losses(longer, rows_RT, max(1, BATCH_TOKENS // length)).mean())
    return found


@torch.no_grad()
def activations(trained: TrainedModel) -> dict[str, float]:
    """How sparse the feed-forward's hidden units are on held-out text, mean over layers.

    exactly zero: their share. near zero: the share below a hundredth of the layer's root mean square. half the energy:
    the smallest share of units, of each token the largest, that hold half of the sum of squares.
    """
    hidden: list[torch.Tensor] = []
    downs = [module for name, module in trained.model.named_modules() if name.endswith("feed_forward.down")]
    hooks = [
        down.register_forward_pre_hook(lambda _, inputs: hidden.append(inputs[0].flatten(0, -2))) for down in downs
    ]
    length = trained.model.shape.seq_len
    n = min(BATCH_TOKENS, len(trained.held_out)) // length
    tokens_NT = torch.from_numpy(trained.held_out[: n * length].astype(np.int64)).view(n, length)
    trained.model.eval()
    trained.model.hidden(tokens_NT.to(next(trained.model.parameters()).device))
    for hook in hooks:
        hook.remove()
    rows = []
    for units_NF in hidden:
        energy_NF = units_NF.double().square().sort(dim=1, descending=True).values
        share_NF = energy_NF.cumsum(1) / energy_NF.sum(1, keepdim=True).clamp(min=1e-30)
        below = units_NF.abs() < 0.01 * units_NF.square().mean().sqrt()
        half_N = (share_NF < 0.5).sum(1) + 1
        rows.append(
            [(units_NF == 0).double().mean(), below.double().mean(), half_N.double().mean() / units_NF.shape[1]]
        )
    means = torch.tensor(rows).mean(0).tolist()
    return dict(zip(("exactly zero", "near zero", "half the energy"), means, strict=True))


def head_roles(trained: TrainedModel) -> dict[str, float]:
    """What the most specialised head of each kind does, as mean attention weight, on random tokens that come twice
    (in_context.roles_on_copies). saturation: mean largest weight."""
    half = trained.model.shape.seq_len // 2
    rows_RT = repeated_rows(2 * half, np.unique(trained.held_out).tolist(), rows=32)[:, :-1]
    layers = attention_weights(trained.model, rows_RT)
    found = [roles_on_copies(weights_BHTT, half) for weights_BHTT in layers]
    roles = {role: max(float(of_layer[role].max()) for of_layer in found) for role in ROLES}
    return roles | {"saturation": float(np.mean([w[:, :, half:].amax(-1).mean().item() for w in layers]))}


def in_context(trained: TrainedModel) -> dict[str, float]:
    """Accuracy on held-out documents of each skill, over the later half of the answers: most keys were seen before."""
    study, found = trained.study, {}
    for one in map(skill, study.mixture.skills):
        rows_NT = one.documents("heldout", study.seed, 0, DOCUMENTS, study.mixture.seq_len + 1)
        batch_rows = max(1, BATCH_TOKENS // study.mixture.seq_len)
        correct_NA = answer(trained.model, one, rows_NT, trained.skill_offset, batch_rows).correct_NA
        found[f"{one.name} accuracy"] = float(correct_NA[:, correct_NA.shape[1] // 2 :].mean())
    return found


def gradients(trained: TrainedModel) -> dict[str, float]:
    """Gradient norm before clipping, over the first and the last tenth of the curve. points clipped: the share of the
    curve's points, each a mean over a few steps, whose norm is larger than allowed.
    """
    norms = np.array([point.grad_norm for point in trained.curve])
    tenth = max(1, len(norms) // 10)
    return {
        "first gradients": float(norms[:tenth].mean()),
        "last gradients": float(norms[-tenth:].mean()),
        "points clipped": float((norms > trained.study.training.clip_norm * trained.model.gradient_unit).mean()),
    }


def noise_scale(trained: TrainedModel) -> dict[str, float]:
    """Parts of the noise scale: the gradient's square |G|^2, and its noise tr(S), at the end of training.

    Their ratio, B_simple in tokens, is the batch beyond which noise is no longer what limits a step (McCandlish et al.
    2018, appendix A.1). Both are unbiased, from gradients of single batches and of all together, on batches that would
    have come next; so their means over seeds are to be divided, and not the ratios averaged.
    """
    model, batch_tokens = trained.model, trained.study.training.batch_tokens
    n = max(2, NOISE_TOKENS // batch_tokens)
    device = next(model.parameters()).device
    model.train()
    small, total = 0.0, [torch.zeros_like(parameter) for parameter in model.parameters()]
    for step in range(trained.steps, trained.steps + n):
        batch = trained.batches[step]
        loss = model.loss(batch.tokens_BT.to(device), batch.targets_BT.to(device), batch.scored_N.to(device))
        found = torch.autograd.grad(loss, list(model.parameters()))
        small += sum(float(gradient.double().square().sum()) for gradient in found) / n
        for so_far, gradient in zip(total, found, strict=True):
            so_far += gradient / n
    large = sum(float(gradient.double().square().sum()) for gradient in total)
    signal = (n * large - small) / (n - 1)
    noise = (small - large) / (1 / batch_tokens - 1 / (n * batch_tokens))
    return {"gradient squared": signal, "gradient noise": noise}


@torch.no_grad()
def leak(trained: TrainedModel) -> dict[str, float]:
    """How far logits of the first half of a window move, at most, when its second half alone is another one: as a model
    computes while it trains, on a window alone and on as many at once as a step has. 0: nothing of the future is seen.
    """
    length = trained.model.shape.seq_len
    n = min(len(trained.held_out), trained.study.training.batch_tokens) // length
    rows_RT = torch.from_numpy(trained.held_out[: n * length].astype(np.int64)).view(n, length)
    changed_RT = rows_RT.clone()
    others_RT = rows_RT.roll(1, dims=0) if n > 1 else rows_RT.flip(1)
    changed_RT[:, length // 2 :] = others_RT[:, length // 2 :]
    model, found = deepcopy(trained.model).train(), {}  # a norm over batches takes notes of what it sees
    for name, count in (("a window", 1), ("a batch", n)):
        logits = []
        for tokens_BT in (rows_RT[:count], changed_RT[:count]):
            torch.manual_seed(0)  # of dropout
            logits.append(model.logits(tokens_BT.to(next(model.parameters()).device))[:, : length // 2])
        found[f"leak in {name}"] = float((logits[0] - logits[1]).abs().max())
    return found


def number_format(trained: TrainedModel) -> dict[str, float]:
    """What the study's precision does to gradients at the end of training, on batches that would have come next.

    flushed: share of the elements, not zero in fp32, that are zero. off: the error's norm over that of the gradient.
    Then the loss scale (1: none), the steps that were skipped for an overflow, and whether (1) the format is emulated.
    """
    precision = trained.study.training.precision
    scale = trained.loss_scale.scale if trained.loss_scale else 1.0
    whole = Damage()
    for step in range(trained.steps, trained.steps + ROUNDED_BATCHES):
        batch = trained.batches[step]
        exact = gradients_in(trained.model, batch, "fp32")
        whole = sum(damage(exact, gradients_in(trained.model, batch, precision, scale)).values(), whole)
    shares = whole.shares()
    return {
        "gradients flushed": shares["flushed"],
        "gradients off": shares["error"],
        "loss scale": scale,
        "steps skipped": trained.loss_scale.skipped if trained.loss_scale else 0,
        "emulated": int(emulated(precision, next(trained.model.parameters()).device)),
    }


@torch.no_grad()
def routing(trained: TrainedModel) -> dict[str, float]:
    """How evenly a mixture's router loads its experts on held-out text, mean over layers; NaN where there is none.

    load entropy: of the experts' shares of tokens, over its largest value, log E. largest load, smallest load: times an
    even share. same expert: how often two places that hold one token take the same (likeliest) expert, and by chance,
    where the token told nothing.
    """
    chosen: list[torch.Tensor] = []
    hooks = [
        module.register_forward_pre_hook(
            lambda module, inputs: chosen.append(module.route(inputs[0].flatten(0, -2))[2])
        )
        for module in trained.model.modules()
        if isinstance(module, Experts)
    ]
    names = ("load entropy", "largest load", "smallest load", "same expert", "same expert by chance")
    if not hooks:
        return dict.fromkeys(names, float("nan"))
    length = trained.model.shape.seq_len
    n = (len(trained.held_out) - 1) // length
    rows_RT = torch.from_numpy(trained.held_out[: n * length].astype(np.int64)).view(n, length)
    trained.model.eval()
    blocks = rows_RT.split(max(1, BATCH_TOKENS // length))
    for tokens_BT in blocks:
        trained.model.hidden(tokens_BT.to(next(trained.model.parameters()).device))
    for hook in hooks:
        hook.remove()
    experts = trained.study.model.experts
    found = [
        _loads(torch.cat(chosen[layer :: len(hooks)]).cpu(), rows_RT.flatten(), experts) for layer in range(len(hooks))
    ]
    return dict(zip(names, torch.tensor(found, dtype=torch.float64).mean(0).tolist(), strict=True))


def _loads(chosen_NA: torch.Tensor, tokens_N: torch.Tensor, experts: int) -> tuple[float, ...]:
    """Of one layer: what `routing` reports."""
    share_E = chosen_NA.flatten().bincount(minlength=experts).double() / chosen_NA.numel()
    entropy = float(torch.special.entr(share_E).sum()) / np.log(experts)
    first_N = chosen_NA[:, 0]
    times_VE = (tokens_N * experts + first_N).bincount(minlength=(int(tokens_N.max()) + 1) * experts).view(-1, experts)
    of_token_V, of_expert_E = times_VE.sum(dim=1), times_VE.sum(dim=0)
    # Of all pairs of different places, those that share a token; and those that share an expert, whatever the token.
    pairs = of_token_V * (of_token_V - 1)
    same = float((times_VE * (times_VE - 1)).sum() / pairs.sum())
    chance = float((of_expert_E * (of_expert_E - 1)).sum() / (len(first_N) * (len(first_N) - 1)))
    return entropy, float(share_E.max()) * experts, float(share_E.min()) * experts, same, chance


MEASURES: dict[str, Callable[[TrainedModel], dict[str, float]]] = {
    "context_length": context_length,
    "activations": activations,
    "head_roles": head_roles,
    "in_context": in_context,
    "gradients": gradients,
    "noise_scale": noise_scale,
    "leak": leak,
    "number_format": number_format,
    "routing": routing,
}
