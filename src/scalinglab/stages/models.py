"""What every stage that holds a model shares: an untrained decoder of a size, and the device to put it on."""

import ctypes
import sys

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
    """The device that execution.device names, in a process set up for it. Raises UserError where it is not there."""
    wanted = study.execution.device
    torch.set_num_threads(study.execution.threads)
    keep_freed_memory()
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("execution.device = 'cuda': no CUDA device is visible; use auto or cpu")
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)


def keep_freed_memory() -> None:
    """Let the C library keep the memory that a training step frees, for the next one.

    By default glibc hands large blocks back to the kernel, which clears them page by page when they are asked for
    again: some 1,500 page faults a step at width 128, 3 to 6 % of the time. Other C libraries are left as they are.
    """
    trim_threshold, mmap_threshold = -1, -3  # the parameters' numbers in malloc.h
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        # 32 MiB is the most that older versions take; to trim less without it would pin the threshold at 128 KiB.
        if libc.mallopt(mmap_threshold, 1 << 25):
            libc.mallopt(trim_threshold, (1 << 31) - 1)
