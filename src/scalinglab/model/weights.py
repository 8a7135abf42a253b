"""Model and training state on disk: safetensors with one JSON string of metadata, never pickle."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from scalinglab.errors import UserError
from scalinglab.files import atomic

# A single key: the format keeps metadata in a hash map, and several keys would be written in random order.
METADATA = "scalinglab"


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write tensors and metadata atomically; equal contents give equal bytes."""
    # Cloned: the format refuses tensors that share memory, as a tied head does with its embedding.
    held = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in sorted(tensors.items())}
    with atomic(path) as temporary:
        try:
            save_file(held, temporary, metadata={METADATA: json.dumps(metadata, sort_keys=True)})
        except SafetensorError as error:
            raise UserError(f"cannot write {path}: {error}; free some space, then run again") from None


def load_tensors(path: Path, prefix: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors whose names start with `prefix` (which is cut off), and the metadata.

    Raises UserError where the file is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt") as held:
            tensors = {
                name.removeprefix(prefix): held.get_tensor(name) for name in held.keys() if name.startswith(prefix)
            }
            return tensors, json.loads(held.metadata()[METADATA])
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run `snakemake --cores 2 {path}`") from None
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}); delete it and run snakemake again") from None


def load_model_weights(model: torch.nn.Module, path: Path) -> dict[str, Any]:
    """Fill a model from the `model.` tensors of a file; return its metadata."""
    tensors, metadata = load_tensors(path, "model.")
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise UserError(f"{path} does not fit the model of params.yaml: {' '.join(str(error).split())}") from None
    return metadata
