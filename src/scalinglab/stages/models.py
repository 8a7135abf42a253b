"""What every stage that holds a model shares: an untrained decoder of a size, and the device to put it on."""

import torch

from scalinglab.config import Study
from scalinglab.errors import UserError
from scalinglab.files import read_json
from scalinglab.model.decoder import Decoder
from scalinglab.model.shape import shape_of
from scalinglab.paths import Paths


def build_model(study: Study, size: str) -> Decoder:
    """An untrained decoder of a size, for the vocabulary that the encode stage made."""
    manifest = read_json(Paths(study.study).manifest)
    return Decoder(shape_of(size, study.model, manifest["vocab_size"], study.mixture.seq_len), study.model)


def pick_device(study: Study) -> torch.device:
    """The device that execution.device names. Raises UserError where it is not there."""
    wanted = study.execution.device
    torch.set_num_threads(study.execution.threads)
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("execution.device = 'cuda': no CUDA device is visible; use auto or cpu")
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)
