"""Model and training state on disk: safetensors with one JSON string of metadata, never pickle.

The metadata holds a checksum of every tensor, and one of itself: a flipped bit is found when the file is read.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from scalinglab.errors import DamagedError, UserError
from scalinglab.files import atomic

# A single key: the format keeps metadata in a hash map, and several keys would be written in random order.
METADATA = "scalinglab"


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write tensors and metadata atomically; equal contents give equal bytes."""
    # Cloned: the format refuses tensors that share memory, as a tied head does with its embedding.
    held = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in sorted(tensors.items())}
    with atomic(path) as temporary:
        try:
            save_file(held, temporary, metadata={METADATA: _signed(held, metadata)})
        except SafetensorError as error:
            raise UserError(f"cannot write {path}: {error}; free some space, then run again") from None


def load_tensors(path: Path, prefix: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors whose names start with `prefix` (which is cut off), and the metadata.

    Raises UserError where the file is missing, DamagedError where it is not what was written.
    """
    try:
        with safe_open(path, framework="pt") as held:
            described = _checked(held.metadata()[METADATA])
            if set(held.keys()) != set(described["sha256"]):
                raise ValueError("its tensors are not those that were written")
            tensors = {name: held.get_tensor(name) for name in held.keys() if name.startswith(prefix)}
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run `snakemake --cores 2 {path}`") from None
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise DamagedError(f"{path} is damaged ({error}); delete it and run snakemake again") from None
    for name, tensor in tensors.items():
        if _digest(tensor) != described["sha256"][name]:
            raise DamagedError(f"{path} is damaged (the checksum of {name}); delete it and run snakemake again")
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}, described["state"]


def digest_of(tensors: dict[str, Tensor]) -> str:
    """SHA-256 of named tensors: equal where every name, type, shape and byte is."""
    whole = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        whole.update(f"{name} {_digest(tensor)}\n".encode())
    return whole.hexdigest()


def _signed(tensors: dict[str, Tensor], state: dict[str, Any]) -> str:
    """The metadata: a checksum, and the JSON that it is of."""
    digests = {name: _digest(tensor) for name, tensor in tensors.items()}
    text = json.dumps({"sha256": digests, "state": state}, sort_keys=True)
    return f"{hashlib.sha256(text.encode()).hexdigest()} {text}"


def _checked(signed: str) -> dict[str, Any]:
    checksum, _, text = signed.partition(" ")
    if hashlib.sha256(text.encode()).hexdigest() != checksum:
        raise ValueError("the checksum of its metadata")
    return json.loads(text)


def _digest(tensor: Tensor) -> str:
    """SHA-256 of a tensor's type, shape and bytes."""
    whole = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    whole.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return whole.hexdigest()


def load_model_weights(model: torch.nn.Module, path: Path) -> dict[str, Any]:
    """Fill a model from the `model.` tensors of a file; return its metadata."""
    tensors, metadata = load_tensors(path, "model.")
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise UserError(f"{path} does not fit the model of params.yaml: {' '.join(str(error).split())}") from None
    return metadata
