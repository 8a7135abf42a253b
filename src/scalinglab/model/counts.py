"""Exact parameter and FLOP counts of a shape, in every convention of the literature.

FLOPs count one multiply-add as 2 and take the backward pass as twice the forward; embedding look-ups cost nothing,
the head is a matrix product like any other (Hoffmann et al. 2022, appendix F; Pearce & Song 2024 on conventions).
"""

from dataclasses import asdict, dataclass

from scalinglab.config import Model
from scalinglab.model.attention import ATTENTIONS
from scalinglab.model.feed_forward import FEED_FORWARDS
from scalinglab.model.norms import NORMS
from scalinglab.model.positions import POSITIONS
from scalinglab.model.shape import Shape


@dataclass(frozen=True)
class Counts:
    """Parameters by convention, and training FLOPs a token."""

    params_total: int
    params_non_embedding: int  # Kaplan et al. 2020: neither embedding nor head
    params_matmul: int  # the parameters that multiply: head yes, embedding no
    flops_per_token: int

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


def count(shape: Shape, options: Model) -> Counts:
    """Counts of one decoder."""
    width, layers = shape.d_model, shape.n_layer
    attention, feed_forward = ATTENTIONS[options.attention], FEED_FORWARDS[options.feed_forward]
    block_matmul = layers * (attention.n_weights(shape) + feed_forward.n_weights(shape, options))
    # Of several experts those count that a token goes to.
    active = layers * (attention.n_weights(shape) + feed_forward.n_active(shape, options))
    n_norms = 2 * layers + (options.norm_place == "pre")  # one more behind the last block
    norm_vectors = n_norms * NORMS[options.norm].n_vectors * width
    vectors = norm_vectors + layers * (attention.n_vectors(shape) + (width if options.token_shift else 0))
    head = shape.vocab_size * width
    tables = head + POSITIONS[options.position].n_parameters(shape)
    # Each pair is multiplied twice: for its score and for its value.
    scores = round(layers * shape.n_head * shape.head_dim * 2 * attention.pairs(shape) / shape.seq_len)
    return Counts(
        params_total=block_matmul + vectors + tables + (0 if options.tied_head else head),
        params_non_embedding=block_matmul + vectors,
        params_matmul=block_matmul + head,
        flops_per_token=3 * (2 * (active + head) + 2 * scores),
    )


def cell_flops(counts: Counts, tokens: int) -> int:
    """Training FLOPs of one cell: what a run of this size on these tokens costs, whatever trunk it shares."""
    return counts.flops_per_token * tokens
