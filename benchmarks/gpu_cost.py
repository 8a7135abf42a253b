"""What attention costs on a GPU, and what checkpointing saves there: docs/theory/attention_cost.md on other hardware.

Forward and backward pass of each kind of attention in bf16, of which the fused kernel is made: time by torch's own
timer, which waits for the device, and the most memory that was allocated beside the inputs. A training step is measured
likewise, with its layers kept or computed again. Prints tables and writes benchmarks/results/gpu_cost.json and its
figure, which `--draw` draws anew. Without a GPU it measures nothing; `--device cpu` shows the tables of a CPU, at short
lengths, and writes nothing.
"""

import argparse
import functools
import json
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.benchmark import Timer

from scalinglab import config
from scalinglab.allocations import peak_bytes
from scalinglab.figures.style import new_figure, ordered_style
from scalinglab.measurements.activation_memory import POLICIES, gradients
from scalinglab.measurements.attention_cost import Attend, exponents, kinds
from scalinglab.model.decoder import Decoder, initialise
from scalinglab.model.shape import shape_of

TARGET = Path(__file__).parent / "results/gpu_cost.json"
STUDY = config.load(Path("presets/laptop.yaml"))
HEADS, HEAD_DIM, WINDOW = 16, 64, 64
LENGTHS = {"cuda": tuple(2**power for power in range(7, 18)), "cpu": (128, 256, 512)}
FORMULA_UP_TO = 8192  # it holds 17 GB there, four times as much at twice the length
FIT_FROM = {"cuda": {"full, formula": 2048, "full, fused": 8192}, "cpu": {}}  # shorter: starting the kernels counts
FIT_OTHERS_FROM = {"cuda": 32768, "cpu": 128}
SIZE, ROWS, SEQ_LEN, VOCABULARY = "d512", 16, 512, 256
LAYERS = {"cuda": (4, 8, 16, 32, 64), "cpu": (1, 2, 4)}
Row = dict[str, Any]


def most_bytes(work: Callable[[], object], device: torch.device) -> int:
    """Bytes that are allocated at once, at most, while `work` runs, beside those that were before."""
    if device.type == "cpu":
        return peak_bytes(work)
    work()  # libraries allocate a workspace once
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    work()
    return torch.cuda.max_memory_allocated() - before


def seconds(work: Callable[[], object], at_least: int = 5) -> float:
    """The median of calls for 0.3 seconds, and of a few at least."""
    work()
    timer = Timer("work()", globals={"work": work})
    found = timer.blocked_autorange(min_run_time=0.3)
    more = [timer.timeit(1).median for _ in range(at_least - len(found.raw_times))]
    return statistics.median([*found.times, *more])


def attention(device: torch.device) -> list[Row]:
    """A row a kind and length, with how far its output is from the formula's in fp32."""
    rows: list[Row] = []
    for length in LENGTHS[device.type]:
        generator = torch.Generator().manual_seed(0)
        drawn = [torch.randn((1, HEADS, length, HEAD_DIM), generator=generator) for _ in range(3)]
        inputs = [x.to(device, torch.bfloat16).requires_grad_() for x in drawn]
        attends = kinds(WINDOW)
        if length > FORMULA_UP_TO:
            del attends["full, formula"]
        for kind, attend in attends.items():
            step = functools.partial(_both_ways, attend, inputs)
            row: Row = {"along": "length", "kind": kind, "n": length, "d": HEAD_DIM, "seconds": seconds(step)}
            row["kept bytes"] = most_bytes(step, device)
            if kind.startswith("full") and length <= FORMULA_UP_TO:
                with torch.no_grad():
                    exact = kinds(WINDOW)["full, formula"](*(x.float() for x in inputs))
                    row["error"] = float((attend(*inputs).float() - exact).norm() / exact.norm())
            rows.append(row)
    return rows


def _both_ways(attend: Attend, inputs: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(attend(*inputs), inputs, torch.ones_like(inputs[0]))


def checkpointing(device: torch.device) -> list[Row]:
    """A row a policy and depth of a model of fp32, gradients included."""
    rows: list[Row] = []
    tokens_BT = torch.randint(VOCABULARY, (ROWS, SEQ_LEN + 1), generator=torch.Generator().manual_seed(0)).to(device)
    for layers in LAYERS[device.type]:
        shape = replace(shape_of(SIZE, STUDY.model, VOCABULARY, SEQ_LEN), n_layer=layers)
        model = Decoder(shape, STUDY.model)
        initialise(model, 0)
        nn.init.normal_(model.head.weight)  # zero passes nothing back
        model.to(device)
        for policy, group_of in POLICIES.items():
            step = functools.partial(gradients, model, tokens_BT, group_of(layers))
            rows.append({"policy": policy, "layers": layers, "seconds": seconds(step)})
            rows[-1] |= {"peak bytes": most_bytes(step, device)}
            rows[-1] |= {"input bytes": 4 * tokens_BT[:, :-1].numel() * shape.d_model}
    return rows


def draw(record: dict[str, Any]) -> None:
    """Time and memory of attention against the length, with the fitted powers."""
    cost, fits = pd.DataFrame(record["cost"]), pd.DataFrame(record["exponents"]).set_index("kind")
    figure, axes = new_figure(2, width=4.2, height=3.6)
    for axis, column, power in zip(axes, ("seconds", "kept bytes"), ("time", "memory"), strict=True):
        for kind, style in ordered_style(list(fits.index)).items():
            line = cost[cost["kind"] == kind]
            label = f"{kind}: n^{fits.loc[kind, power]:.2f} from {fits.loc[kind, 'from']:,}"
            axis.plot(line["n"], line[column], markersize=4, linewidth=1.1, label=label, **style)
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.minorticks_off()
        axis.set_xlabel(f"length of the context, n, at {record['heads']} heads of {cost['d'].iloc[0]} channels")
        axis.legend(fontsize=7)
    axes[0].set_ylabel(f"forward and backward on {record['device']} (s)")
    axes[1].set_ylabel("most that is allocated at once (bytes)")
    figure.savefig(TARGET.with_suffix(".png"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--draw", action="store_true", help="only draw what was measured")
    arguments = parser.parse_args()
    if arguments.draw:
        draw(json.loads(TARGET.read_text(encoding="utf-8")))
        return
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("no CUDA device is visible: nothing was measured")
        return
    cost = attention(device)
    first, others = FIT_FROM[device.type], FIT_OTHERS_FROM[device.type]
    lines = pd.DataFrame(cost).groupby("kind", sort=False)
    powers = [row for kind, line in lines for row in exponents(line, first.get(str(kind), others))]
    memory = checkpointing(device)
    for table in (cost, powers, memory):
        print(pd.DataFrame(table).to_string(index=False), flush=True)
    if device.type == "cuda":
        record = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "heads": HEADS, "size": SIZE,
                  "rows": ROWS, "seq_len": SEQ_LEN, "cost": cost, "exponents": powers, "memory": memory}  # fmt: skip
        TARGET.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        draw(record)


if __name__ == "__main__":
    main()
