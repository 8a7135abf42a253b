"""Near-duplicates by MinHash LSH (Broder 1997; datasketch), and overlap of word n-grams for decontamination."""

import re
import zlib
from collections.abc import Iterable, Iterator

import numpy as np
from datasketch import MinHash, MinHashLSH
from numpy.typing import NDArray

WORD = re.compile(r"\w+")
SEED = 1


def shingle_hashes(text: str, words: int) -> NDArray[np.uint32]:
    """Distinct 32-bit hashes of the runs of `words` consecutive words (one hash of the whole if it is shorter)."""
    tokens = np.fromiter((zlib.crc32(word.encode()) for word in WORD.findall(text)), dtype=np.uint64)
    if len(tokens) < words:
        return np.array([zlib.crc32(tokens.tobytes())], dtype=np.uint32)
    # A polynomial over the word hashes: the same run of words gives the same number, at array speed.
    rolling = np.zeros(len(tokens) - words + 1, dtype=np.uint64)
    for i in range(words):
        rolling = rolling * np.uint64(0x9E3779B97F4A7C15) + tokens[i : i + len(rolling)]
    return np.unique((rolling >> np.uint64(32)).astype(np.uint32))


class NearDuplicates:
    """Remembers documents by their MinHash signature: about 1 KB each, however long they are.

    The index is datasketch's in arrays and integers; its own takes 7 KB a document, 3 GB for 2 GB of source files.
    """

    def __init__(self, jaccard: float, permutations: int, words: int) -> None:
        bands = MinHashLSH(threshold=jaccard, num_perm=permutations)
        self._jaccard, self._permutations, self._words = jaccard, permutations, words
        self._edges = [(i * bands.r, (i + 1) * bands.r) for i in range(bands.b)]
        self._empty = MinHash(num_perm=permutations, seed=SEED, hashfunc=int)
        self._signatures = np.empty((1024, permutations), dtype=np.uint32)
        self._count = 0
        # For each band, hash of its values -> the documents that have them: one number, or a list where there are more.
        self._tables: list[dict[int, int | list[int]]] = [{} for _ in self._edges]

    def seen(self, text: str) -> bool:
        """True where an earlier document has an estimated Jaccard similarity at or above the threshold."""
        sketch = self._empty.copy()
        sketch.update_batch(shingle_hashes(text, self._words).tolist())
        signature = sketch.hashvalues.astype(np.uint32)
        keys = [hash(signature[first:last].tobytes()) for first, last in self._edges]
        near = {other for table, key in zip(self._tables, keys, strict=True) for other in _listed(table.get(key))}
        if near and (self._signatures[list(near)] == signature).mean(axis=1).max() >= self._jaccard:
            return True
        self._insert(signature, keys)
        return False

    def _insert(self, signature: NDArray[np.uint32], keys: list[int]) -> None:
        if self._count == len(self._signatures):
            self._signatures = np.concatenate([self._signatures, np.empty_like(self._signatures)])
        self._signatures[self._count] = signature
        for table, key in zip(self._tables, keys, strict=True):
            table[key] = [*_listed(table[key]), self._count] if key in table else self._count
        self._count += 1


def _listed(entry: int | list[int] | None) -> list[int]:
    if entry is None:
        return []
    return entry if isinstance(entry, list) else [entry]


def contaminated(held_out: Iterable[tuple[str, str]], training: Iterator[str], words: int, share: float) -> set[str]:
    """Keys of the held-out texts whose `words`-grams occur in the training texts to more than `share`.

    held_out: (key, text) pairs, kept in memory as hashes; training: texts, streamed once.
    """
    grams = {key: shingle_hashes(text, words) for key, text in held_out}
    if not grams:
        return set()
    wanted = np.unique(np.concatenate(list(grams.values())))
    found = np.zeros(len(wanted), dtype=bool)
    for text in training:
        hashes = shingle_hashes(text, words)
        places = np.minimum(np.searchsorted(wanted, hashes), len(wanted) - 1)
        found[places[wanted[places] == hashes]] = True
    return {key for key, own in grams.items() if found[np.searchsorted(wanted, own)].mean() > share}
