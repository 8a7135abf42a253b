"""Training tokens/s against transformers' Llama and a plain nanoGPT-style loop, two jobs on two cores.

Same shape, vocabulary, sequence, batch and fp32 for all; every target is scored. Contenders take turns within one run,
so that the machine's mood hits all alike; ratios are medians over the rounds. `mixture` is ours as the study trains
it, with the head skipped at the unscored half of the skill documents. `bound` is what a loop would reach whose matrix
products ran at the machine's rate and all else were free. Writes benchmarks/results/training_speed.json.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from scalinglab import config
from scalinglab.model.counts import count
from scalinglab.model.decoder import Decoder, initialise
from scalinglab.model.shape import Shape, shape_of
from scalinglab.stages.models import keep_freed_memory
from scalinglab.training.optimiser import AdamW
from scalinglab.training.schedule import Rates

VOCAB = 1088
CONTENDERS = ("ours", "mixture", "llama", "plain")
STUDY = config.load(Path("presets/laptop.yaml"))
BATCH, SEQ = STUDY.training.batch_tokens // STUDY.mixture.seq_len, STUDY.mixture.seq_len


class PlainBlock(nn.Module):
    """A GPT-2 block as in nanoGPT: LayerNorm, one qkv product, SDPA, GELU with four times the width."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, width = x.shape
        q, k, v = (
            part.view(b, t, self.heads, -1).transpose(1, 2) for part in self.qkv(self.norm_1(x)).split(width, dim=2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).contiguous().view(b, t, width))
        return x + self.down(F.gelu(self.up(self.norm_2(x))))


class Plain(nn.Module):
    """nanoGPT's model with an untied head; its loop clips the norm and steps torch's AdamW."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.tokens = nn.Embedding(shape.vocab_size, shape.d_model)
        self.positions = nn.Embedding(shape.seq_len, shape.d_model)
        self.blocks = nn.Sequential(*(PlainBlock(shape.d_model, shape.n_head) for _ in range(shape.n_layer)))
        self.norm = nn.LayerNorm(shape.d_model, bias=False)
        self.head = nn.Linear(shape.d_model, shape.vocab_size, bias=False)

    def loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        h = self.tokens(x) + self.positions(torch.arange(x.shape[1]))
        logits = self.head(self.norm(self.blocks(h)))
        return F.cross_entropy(logits.view(-1, logits.size(-1)), y.view(-1))


def make(kind: str, shape: Shape) -> tuple[nn.Module, Callable[[], None], Callable[..., torch.Tensor]]:
    """Model, update from its gradients, and loss function of a contender."""
    if kind in ("ours", "mixture"):
        model = Decoder(shape, STUDY.model)
        initialise(model, 0)
        optimiser = AdamW(model, STUDY.training)
        keep = torch.ones(BATCH, SEQ, dtype=torch.bool)
        if kind == "mixture":
            keep[: BATCH // 2, ::2] = False
        scored = keep.flatten().nonzero()[:, 0]
        return model, lambda: optimiser.step(Rates.alike(1e-3)), lambda x, y: model.loss(x, y, scored)
    if kind == "llama":
        from transformers import LlamaConfig, LlamaForCausalLM

        options = LlamaConfig(
            vocab_size=VOCAB,
            hidden_size=shape.d_model,
            intermediate_size=shape.d_ff,
            num_hidden_layers=shape.n_layer,
            num_attention_heads=shape.n_head,
            max_position_embeddings=SEQ,
            tie_word_embeddings=False,
            use_cache=False,
            attn_implementation="sdpa",  # type: ignore[call-arg]
        )
        llama = LlamaForCausalLM(options)
        # labels are shifted inside: one more position gives the same number of targets.
        return (
            llama,
            library_update(torch.optim.AdamW(llama.parameters(), lr=1e-3, fused=True)),
            lambda x, y: llama(input_ids=x, labels=x).loss,
        )
    plain = Plain(shape)
    return plain, library_update(torch.optim.AdamW(plain.parameters(), lr=1e-3, fused=True)), plain.loss


def library_update(optimiser: torch.optim.Optimizer) -> Callable[[], None]:
    """One step of torch's own optimiser."""

    def update() -> None:
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return update


def measure(kind: str, width: int, seconds: float) -> float:
    """Tokens/s of one job with one thread."""
    torch.set_num_threads(1)
    if kind in ("ours", "mixture"):
        keep_freed_memory()
    torch.manual_seed(0)
    model, update, loss_of = make(kind, shape_of(f"d{width}", STUDY.model, VOCAB, SEQ))
    rows = torch.randint(0, VOCAB, (64, BATCH, SEQ + 1))

    def step(i: int) -> None:
        row = rows[i % len(rows)]
        loss_of(row[:, :-1].contiguous(), row[:, 1:].contiguous()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        update()

    for i in range(5):
        step(i)
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        step(done)
        done += 1
    return done * BATCH * SEQ / (time.perf_counter() - started)


def matmul_rate(width: int) -> float:
    """FLOP/s of the forward product [2048, width] x [width, 4 width], the best of many."""
    torch.set_num_threads(1)
    a, b = torch.randn(BATCH * SEQ, width), torch.randn(width, 4 * width)
    times = []
    for _ in range(200):
        started = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - started)
    return 2 * a.shape[0] * width * 4 * width / sorted(times)[len(times) // 10]


def pair(kind: str, width: int, seconds: float) -> float:
    """Tokens/s of two jobs at once, together."""
    command = [sys.executable, __file__, "--worker", kind, "--width", str(width), "--seconds", str(seconds)]
    jobs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    return sum(float(job.communicate()[0]) for job in jobs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worker", choices=[*CONTENDERS, "matmul"])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--widths", type=int, nargs="*", default=[64, 128])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    arguments = parser.parse_args()
    if arguments.worker:
        rate = (
            matmul_rate(arguments.width)
            if arguments.worker == "matmul"
            else measure(arguments.worker, arguments.width, arguments.seconds)
        )
        print(rate)
        return
    table = []
    for width in arguments.widths:
        rounds = [
            {kind: pair(kind, width, arguments.seconds) for kind in (*CONTENDERS, "matmul")}
            for _ in range(arguments.rounds)
        ]
        flops = count(shape_of(f"d{width}", STUDY.model, VOCAB, SEQ), STUDY.model).flops_per_token
        row = {
            "width": width,
            **{f"{kind} tokens/s": round(statistics.median(r[kind] for r in rounds)) for kind in CONTENDERS},
            "ours / llama": round(statistics.median(r["ours"] / r["llama"] for r in rounds), 3),
            "ours / plain": round(statistics.median(r["ours"] / r["plain"] for r in rounds), 3),
            "mixture / plain": round(statistics.median(r["mixture"] / r["plain"] for r in rounds), 3),
            "ours / bound": round(statistics.median(r["ours"] * flops / r["matmul"] for r in rounds), 3),
            "bound / llama": round(statistics.median(r["matmul"] / flops / r["llama"] for r in rounds), 3),
            "bound / plain": round(statistics.median(r["matmul"] / flops / r["plain"] for r in rounds), 3),
        }
        table.append(row)
        print("  ".join(f"{key}: {value}" for key, value in row.items()), flush=True)
    target = Path(__file__).parent / "results/training_speed.json"
    record = {"torch": torch.__version__, "rounds": arguments.rounds, "table": table}
    target.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
