"""Low-rank updates: nothing at the start, nothing beside A and B, and the same model when merged."""

import copy

import pytest
import torch
from torch import nn

from scalinglab.config import Study
from scalinglab.errors import UserError
from scalinglab.model.decoder import Decoder
from scalinglab.training.optimiser import AdamW
from scalinglab.training.schedule import Rates
from scalinglab.transfer.low_rank import LowRank, add_low_rank, freeze, merge, trainable

TOKENS = torch.randint(50, (3, 16), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def base(tiny: Decoder) -> Decoder:
    """With a head that is not zero."""
    nn.init.normal_(tiny.head.weight, generator=torch.Generator().manual_seed(1))
    return tiny


def test_at_the_start_it_is_bitwise_the_base(base: Decoder) -> None:
    before = base.logits(TOKENS)
    add_low_rank(base, rank=2, alpha=8, seed=0)
    assert torch.equal(base.logits(TOKENS), before)


def test_only_the_updates_learn(base: Decoder, smoke: Study) -> None:
    """Two steps: in the first, A has no gradient but zero, since B is zero."""
    before = copy.deepcopy(base.state_dict())
    per_rank = sum(sum(p.weight.shape) for p in base.blocks.modules() if isinstance(p, nn.Linear))
    add_low_rank(base, rank=2, alpha=8, seed=0)
    assert trainable(base) == 2 * per_rank
    optimiser = AdamW(base, smoke.training)
    for _ in range(2):
        base.loss(TOKENS[:, :-1], TOKENS[:, 1:].contiguous(), torch.arange(45)).backward()
        learning = {name for name, p in base.named_parameters() if p.grad is not None}
        assert learning == {name for name, _ in base.named_parameters() if name.endswith(("a_RI", "b_OR"))}
        optimiser.step(Rates.alike(0.01))
    after = {name.replace("parametrizations.weight.original", "weight"): t for name, t in base.state_dict().items()}
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    updates = [part for part in base.modules() if isinstance(part, LowRank)]
    assert all(part.b_OR.abs().min() > 0 for part in updates)


def test_merged_weights_are_the_same_model(base: Decoder) -> None:
    names = set(base.state_dict())
    add_low_rank(base, rank=3, alpha=8, seed=0)
    for part in base.modules():
        if isinstance(part, LowRank):
            nn.init.normal_(part.b_OR, generator=torch.Generator().manual_seed(2))
    adapted = base.logits(TOKENS)
    merge(base)
    assert torch.equal(base.logits(TOKENS), adapted)
    assert set(base.state_dict()) == names


def test_the_update_is_scaled_by_alpha_over_rank() -> None:
    weight = torch.zeros(4, 3, dtype=torch.float64)
    update = LowRank(weight, rank=2, alpha=6, generator=torch.Generator().manual_seed(0))
    update.b_OR.data.normal_(generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(update(weight), 3 * update.b_OR @ update.a_RI)
    assert torch.linalg.matrix_rank(update(weight)) == 2


def test_at_full_rank_it_can_be_any_update() -> None:
    """B solved for, exactly, since A has full rank."""
    generator = torch.Generator().manual_seed(0)
    weight, wanted = (torch.randn(5, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    update = LowRank(weight, rank=3, alpha=3, generator=generator)
    update.b_OR.data = torch.linalg.solve(update.a_RI.data.t(), wanted.t()).t()
    torch.testing.assert_close(update(weight), weight + wanted)


def test_a_rank_that_no_matrix_has_is_refused(base: Decoder) -> None:
    with pytest.raises(UserError, match=r"rank 17: blocks\.0\.attention\.qkv is \(48, 16\)"):
        add_low_rank(base, rank=17, alpha=1, seed=0)


def test_freezing_all_but_the_head(base: Decoder) -> None:
    freeze(base, but="head.")
    assert trainable(base) == base.head.weight.numel()
    freeze(base)
    assert trainable(base) == 0
