"""Do number formats that are emulated on a CPU do what a GPU's own do? The check of docs/theory/precision.md.

The gradients of one trained model in bf16 and fp16, emulated and the device's own, against those of fp32; products of
8-bit floats: rounded operands, as simulated, against the device's own product. Beside them, how long steps and products
take. Whole runs in the device's own formats are in gpu_studies.py. Needs the encoded data and the rates of a run
(results/laptop). Prints tables and writes benchmarks/results/gpu_formats.json; without a GPU it measures nothing.
`--device cpu` tries it, and writes nothing.
"""

import argparse
import copy
import functools
import json
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.benchmark import Timer

from scalinglab import pipeline
from scalinglab.evaluation.rounding import Damage, damage, gradients_in
from scalinglab.model.decoder import Decoder, initialise
from scalinglab.scaling_rules.fp8 import FORWARDS, rounded
from scalinglab.stages.models import build_model
from scalinglab.stages.trained import trained
from scalinglab.theory.protocol import protocol_of, study_of
from scalinglab.training.data import Batch
from scalinglab.training.precision import autocast

TARGET = Path(__file__).parent / "results/gpu_formats.json"
STUDY = "precision"
SCALES = (1.0, 1024.0)
HALVES = ("bf16", "fp16")
SIZES = {"cuda": ("d64", "d1024"), "cpu": ("d64",)}
WIDTHS = {"cuda": (1024, 4096, 8192), "cpu": (64,)}
ROWS = 64  # of the batch that steps of all sizes are timed on
Row = dict[str, Any]


def gradient_rows(device: torch.device) -> list[Row]:
    """What a format does to the gradients of one batch, emulated and on the device, and how far these are apart."""
    params = pipeline.all_params()
    protocol = protocol_of(params, STUDY)
    run = trained(study_of(params, protocol, "fp32"), protocol.size, protocol.tokens, "gpu-formats")
    emulating, batch = copy.deepcopy(run.model).cpu(), run.batches[run.step]
    exact, rows = gradients_in(emulating, batch, "fp32"), []
    own = run.model.to(device)
    rows.append({"format": "fp32", "scale": 1.0, **_apart(exact, exact, gradients_in(own, batch, "fp32"))})
    for name in HALVES:
        for scale in SCALES:
            emulated = gradients_in(emulating, batch, name, scale)
            rows.append({"format": name, "scale": scale})
            rows[-1] |= _apart(exact, emulated, gradients_in(own, batch, name, scale))
    return rows


def _apart(exact: dict[str, Tensor], emulated: dict[str, Tensor], own: dict[str, Tensor]) -> Row:
    """Shares that are zero though not in fp32, and errors, relative to fp32; and between the two, to the emulated."""
    here = {name: one.cpu() for name, one in own.items()}
    pairs = {"emulated": (exact, emulated), "own": (exact, here), "apart": (emulated, here)}
    found: Row = {}
    for name, (one, other) in pairs.items():
        shares = sum(damage(one, other).values(), Damage()).shares()
        found |= {f"{name} off": shares["error"]} | ({} if name == "apart" else {f"{name} zero": shares["flushed"]})
    return found


def step_seconds(device: torch.device) -> list[Row]:
    """Forward and backward pass of a step in each format, as autocast makes it, with the library's loss for all."""
    params = pipeline.all_params()
    study = study_of(params, protocol_of(params, STUDY), "fp32")
    rows: list[Row] = []
    for size in SIZES[device.type]:
        model: Decoder = build_model(study, size)
        initialise(model, 0)
        model.to(device)
        shape = (ROWS, study.mixture.seq_len)
        tokens_BT = torch.randint(model.shape.vocab_size, shape, generator=torch.Generator().manual_seed(0))
        batch = Batch(tokens_BT, tokens_BT.roll(-1, 1), torch.arange(tokens_BT.numel()))
        for name in ("fp32", *HALVES):
            step = functools.partial(_plain_step, model, batch, name)
            step()
            seconds = Timer("step()", globals={"step": step}).blocked_autorange(min_run_time=0.5).median
            rows.append({"size": size, "format": name, "tokens": tokens_BT.numel(), "seconds": seconds})
    return rows


def _plain_step(model: Decoder, batch: Batch, name: str) -> None:
    """Gradients of the mean cross-entropy: our own loss is written for the caches of a CPU, and for fp32 alone."""
    device = next(model.parameters()).device
    with autocast(name, device):
        logits_NV = model.logits(batch.tokens_BT.to(device)).flatten(0, 1).float()
        loss = F.cross_entropy(logits_NV, batch.targets_BT.to(device).flatten())
    torch.autograd.grad(loss, list(model.parameters()))


def eight_bits(device: torch.device) -> list[Row]:
    """Products [N, N] [N, N] in e4m3: simulated in fp32 and the device's own, and what they take beside bf16."""
    rows: list[Row] = []
    for width in WIDTHS[device.type]:
        generator = torch.Generator().manual_seed(0)
        x_NI, weight_OI = (torch.randn((width, width), generator=generator).to(device) for _ in range(2))
        simulated = rounded(x_NI, FORWARDS) @ rounded(weight_OI, FORWARDS).t()
        x8_NI, w8_IO, one = x_NI.to(FORWARDS), weight_OI.to(FORWARDS).t(), torch.ones((), device=device)
        x16_NI, w16_IO = x_NI.bfloat16(), weight_OI.bfloat16().t()
        own = torch._scaled_mm(x8_NI, w8_IO, one, one, out_dtype=torch.bfloat16).float()
        exact = x_NI.double() @ weight_OI.double().t()
        timed = {
            "fp32": functools.partial(torch.matmul, x_NI, weight_OI.t()),
            "bf16": functools.partial(torch.matmul, x16_NI, w16_IO),
            "e4m3": functools.partial(torch._scaled_mm, x8_NI, w8_IO, one, one, out_dtype=torch.bfloat16),
        }
        row: Row = {"n": width, "simulated off": _off(simulated, exact), "own off": _off(own, exact)}
        row |= {"apart": _off(own, simulated), "bf16 off": _off(x16_NI @ w16_IO, exact)}
        row |= {"only rounding the result": _off(simulated.bfloat16(), simulated)}
        for name, product in timed.items():
            row[f"{name} seconds"] = Timer("f()", globals={"f": product}).blocked_autorange(min_run_time=0.3).median
        rows.append(row)
    return rows


def _off(found: Tensor, right: Tensor) -> float:
    return float((found.double() - right.double()).norm() / right.double().norm())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("no CUDA device is visible: nothing was measured")
        return
    found: dict[str, list[Row]] = {
        "products": eight_bits(device),
        "steps": step_seconds(device),
        "gradients": gradient_rows(device),
    }
    for table in found.values():
        print(pd.DataFrame(table).to_string(index=False), flush=True)
    if device.type == "cuda":
        record = {"device": torch.cuda.get_device_name(), "torch": torch.__version__}
        TARGET.write_text(json.dumps(record | found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
