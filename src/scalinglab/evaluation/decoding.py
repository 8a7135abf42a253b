"""Writing text with a decoder: greedy, sampling from a cut distribution, beam search; with a memory or without.

Every strategy is a function of the last logits, so that temperature, top-k and top-p can be seen apart.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from scalinglab.errors import UserError
from scalinglab.model.decoder import Decoder
from scalinglab.model.memory import LayerMemory

LENGTH_BASE = 5  # of the length penalty


@dataclass(frozen=True)
class Strategy:
    """How the next token is chosen.

    temperature: divides the logits; 0 takes the likeliest token. top_k: only the k likeliest; 0 is all. top_p: only
    the likeliest tokens that together have this probability (Holtzman et al. 2020, section 3.1). beams: above 1, beam
    search with a length penalty (Wu et al. 2016, eq. 14), and the others do not count.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    beams: int = 1
    length_penalty: float = 0.0

    def __post_init__(self) -> None:
        bad = self.temperature < 0 or self.top_k < 0 or not 0 < self.top_p <= 1 or self.beams < 1
        if bad:
            raise UserError(f"{self}: temperature and top_k must be 0 or more, 0 < top_p <= 1, and beams 1 or more")


def distribution(logits_BV: Tensor, strategy: Strategy) -> Tensor:
    """[B, V] probabilities that the strategy draws from."""
    if strategy.temperature == 0:
        return torch.zeros_like(logits_BV).scatter_(1, logits_BV.argmax(dim=1, keepdim=True), 1.0)
    p_BV = (logits_BV / strategy.temperature).softmax(dim=-1)
    if strategy.top_k:
        least_B1 = p_BV.topk(min(strategy.top_k, p_BV.shape[1]), dim=1).values[:, -1:]
        p_BV = p_BV.masked_fill(p_BV < least_B1, 0.0)
    if strategy.top_p < 1:
        sorted_BV, places_BV = p_BV.sort(dim=1, descending=True)
        before_BV = sorted_BV.cumsum(dim=1) - sorted_BV
        cut_BV = torch.zeros_like(p_BV, dtype=torch.bool).scatter(1, places_BV, before_BV >= strategy.top_p)
        p_BV = p_BV.masked_fill(cut_BV, 0.0)
    return p_BV / p_BV.sum(dim=1, keepdim=True)


@torch.no_grad()
def generate(
    model: Decoder,
    prompts_BT: Tensor,
    new: int,
    strategy: Strategy,
    seed: int = 0,
    remember: bool = True,
    end: int | None = None,
) -> Tensor:
    """[B, new] tokens behind prompts.

    remember: read each position once, and not the whole context for every token. end: the token behind which a beam
    search stops; its shorter texts are filled up with it.
    """
    model.eval()
    if strategy.beams > 1:
        return torch.cat([beam_search(model, row_1T, new, strategy, remember, end) for row_1T in prompts_BT.split(1)])
    generator = torch.Generator(prompts_BT.device).manual_seed(seed)
    next_logits = reader(model, remember)
    tokens_BT = prompts_BT
    for _ in range(new):
        p_BV = distribution(next_logits(tokens_BT), strategy)
        chosen_B1 = torch.multinomial(p_BV, 1, generator=generator)
        tokens_BT = torch.cat([tokens_BT, chosen_B1], dim=1)
    return tokens_BT[:, prompts_BT.shape[1] :]


def reader(model: Decoder, remember: bool) -> Callable[..., Tensor]:
    """A function from all tokens so far [B, T] to the logits [B, V] of the next.

    With a memory it reads only those that are new; `rows`: which of the former rows each row goes on from.
    """
    memories = [LayerMemory() for _ in model.blocks]

    def with_memory(tokens_BT: Tensor, rows: Tensor | None = None) -> Tensor:
        if rows is not None:
            for memory in memories:
                memory.select(rows)
        return model.extend(tokens_BT[:, memories[0].length :], memories)[:, -1]

    def anew(tokens_BT: Tensor, rows: Tensor | None = None) -> Tensor:
        return model.logits(tokens_BT)[:, -1]

    return with_memory if remember else anew


@torch.no_grad()
def beam_search(
    model: Decoder, prompt_1T: Tensor, new: int, strategy: Strategy, remember: bool = True, end: int | None = None
) -> Tensor:
    """[1, new] tokens with the best score of those that a few best beginnings lead to.

    The score is the log-likelihood over ((5 + length) / 6)^length_penalty; without an end all are of one length.
    """
    next_logits = reader(model, remember)
    tokens_NT, scores_N = prompt_1T, prompt_1T.new_zeros(1, dtype=torch.float64)
    rows: Tensor | None = None
    ended: list[tuple[float, Tensor]] = []
    for length in range(1, new + 1):
        total_NV = scores_N[:, None] + next_logits(tokens_NT, rows).double().log_softmax(dim=-1)
        if end is not None:
            best = int(total_NV[:, end].argmax())
            ended.append((float(total_NV[best, end]) / _penalty(length, strategy), tokens_NT[best]))
            total_NV[:, end] = -torch.inf
        scores_N, flat_N = total_NV.flatten().topk(min(strategy.beams, int(total_NV.isfinite().sum())))
        rows, chosen_N = flat_N // total_NV.shape[1], flat_N % total_NV.shape[1]
        tokens_NT = torch.cat([tokens_NT[rows], chosen_N[:, None]], dim=1)
    ended.append((float(scores_N[0]) / _penalty(new, strategy), tokens_NT[0]))
    found_T = max(ended, key=lambda one: one[0])[1][prompt_1T.shape[1] :]
    return torch.nn.functional.pad(found_T, (0, new - len(found_T)), value=0 if end is None else end)[None]


def _penalty(length: int, strategy: Strategy) -> float:
    return ((LENGTH_BASE + length) / (LENGTH_BASE + 1)) ** strategy.length_penalty
