"""State on disk: bytes are a function of the contents, damage is named."""

from pathlib import Path

import pytest
import torch

from scalinglab.errors import UserError
from scalinglab.model.decoder import Decoder
from scalinglab.model.weights import load_model_weights, load_tensors, save_tensors


def test_equal_contents_are_equal_bytes(tmp_path: Path) -> None:
    tensors = {"b": torch.arange(4.0), "a": torch.ones(2, 3)}
    save_tensors(tmp_path / "1", tensors, {"step": 1, "x": [1.5]})
    save_tensors(tmp_path / "2", dict(reversed(tensors.items())), {"x": [1.5], "step": 1})
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    loaded, metadata = load_tensors(tmp_path / "1")
    assert metadata == {"step": 1, "x": [1.5]}
    torch.testing.assert_close(loaded, tensors)


def test_damage_and_mismatch_are_named(tmp_path: Path, tiny: Decoder) -> None:
    with pytest.raises(UserError, match="is missing"):
        load_tensors(tmp_path / "none.safetensors")
    path = tmp_path / "model.safetensors"
    save_tensors(path, {f"model.{name}": t for name, t in tiny.state_dict().items()}, {})
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(UserError, match="is damaged"):
        load_model_weights(tiny, path)
    save_tensors(path, {"model.other": torch.ones(1)}, {})
    with pytest.raises(UserError, match="does not fit the model"):
        load_model_weights(tiny, path)
