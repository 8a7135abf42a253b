"""One dial, the width, fixes depth and heads; a Shape is everything that decides a model's tensors."""

from dataclasses import dataclass

from scalinglab import config


@dataclass(frozen=True)
class Shape:
    """Sizes of one decoder."""

    vocab_size: int
    seq_len: int
    d_model: int
    n_layer: int
    n_head: int
    n_kv_head: int
    head_dim: int
    d_ff: int
    window: int


def shape_of(size: str, model: config.Model, vocab_size: int, seq_len: int) -> Shape:
    """The shape of a size label such as `d64`.

    Depth is width / aspect, at least min_layers; heads have head_dim channels (one narrower head below that width);
    the hidden width is ff_ratio times the width, rounded up to a multiple of 8.
    """
    width = config.width_of(size)
    head_dim = min(model.head_dim, width)
    n_head = width // head_dim
    return Shape(
        vocab_size=vocab_size,
        seq_len=seq_len,
        d_model=width,
        n_layer=max(model.min_layers, round(width / model.aspect)),
        n_head=n_head,
        n_kv_head=n_head // model.kv_groups,
        head_dim=head_dim,
        d_ff=-(-round(model.ff_ratio * width) // 8) * 8,
        window=model.window,
    )
