"""Training FLOPs of one batch, by the rules of model/counts.py, for decoders, encoders and encoder-decoders.

Only what is needed is counted: pairs that see each other, and the head where there is a target.
"""

from torch import nn

from scalinglab.model.decoder import Decoder
from scalinglab.model.encoder_decoder import CrossBlock, EncoderDecoder
from scalinglab.training.data import Batch


def batch_flops(model: Decoder, batch: Batch) -> int:
    """Of a forward pass and a backward pass, which costs twice as much; a multiply-add counts 2."""
    rows, length = batch.tokens_BT.shape
    shape, seen = model.shape, batch.two_way
    width = shape.n_head * shape.head_dim
    if isinstance(model, EncoderDecoder):
        rest = length - seen
        products = sum(seen * _matrices(block) for block in model.encoder)
        products += len(model.encoder) * 2 * width * seen * seen
        for block in model.blocks:
            assert isinstance(block, CrossBlock)
            of_source = block.cross_attention.kv.weight.numel()
            products += seen * of_source + rest * (_matrices(block) - of_source)
            products += 2 * width * (_past(rest) + rest * seen)
    else:
        pairs = _past(length) + _past(max(seen, 1) - 1)  # the pairs that look ahead
        products = sum(length * _matrices(block) for block in model.blocks) + shape.n_layer * 2 * width * pairs
    head = len(batch.scored_N) * model.head.weight.numel()
    return 3 * 2 * (rows * products + head)


def _matrices(block: nn.Module) -> int:
    return sum(part.weight.numel() for part in block.modules() if isinstance(part, nn.Linear))


def _past(length: int) -> int:
    """Pairs of positions, each with itself and those before it."""
    return length * (length + 1) // 2
