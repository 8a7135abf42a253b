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
    """Remembers documents by their MinHash signature; memory grows with the documents, not with their text."""

    def __init__(self, jaccard: float, permutations: int, words: int) -> None:
        self._index = MinHashLSH(threshold=jaccard, num_perm=permutations)
        self._jaccard, self._permutations, self._words = jaccard, permutations, words
        self._signatures: dict[str, MinHash] = {}

    def seen(self, key: str, text: str) -> bool:
        """True where an earlier document has an estimated Jaccard similarity at or above the threshold."""
        signature = MinHash(num_perm=self._permutations, seed=SEED, hashfunc=int)
        signature.update_batch(shingle_hashes(text, self._words).tolist())
        if any(self._signatures[other].jaccard(signature) >= self._jaccard for other in self._index.query(signature)):
            return True
        self._index.insert(key, signature)
        self._signatures[key] = signature
        return False


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
        found |= np.isin(wanted, shingle_hashes(text, words))
    return {key for key, own in grams.items() if found[np.searchsorted(wanted, own)].mean() > share}
