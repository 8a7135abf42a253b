"""The encoded rows on disk: .npy files, read memory-mapped, with their checksums in the manifest beside them."""

from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from scalinglab.errors import UserError
from scalinglab.files import read_json, sha256

MANIFEST = "manifest.json"
NAMES = ("train.npy", "train-scored.npy", "validation.npy")


def write_header(stream: BinaryIO, dtype: type, shape: tuple[int, int]) -> None:
    """Begin a .npy file whose rows follow as plain bytes: written as a stream, a full disk is an ordinary error."""
    described = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, described)


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every shard, for the manifest."""
    return {name: sha256(folder / name) for name in NAMES}


def open_shard(folder: Path, name: str) -> NDArray:
    """One shard, memory-mapped, after a look at its checksum: damaged rows would train without a word.

    Raises UserError where it is missing, or is not what the encode stage wrote.
    """
    path = folder / name
    expected = read_json(folder / MANIFEST)["sha256"][name]
    try:
        if sha256(path) != expected:
            raise UserError(f"{path} is damaged (its sha256 is not the manifest's); delete it and run snakemake again")
        return np.load(path, mmap_mode="r")
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run `snakemake --cores 2 {path}`") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); delete it and run snakemake again") from None
