"""Byte-pair encoding in its plainest form, to read, and to hold the fast ones against."""

import itertools
from collections import Counter
from collections.abc import Mapping


def learn_merges(words: Mapping[str, int], n: int) -> list[tuple[str, str]]:
    """The first n merges over words and their counts (Sennrich et al. 2016, algorithm 1).

    Of pairs that are equally frequent, the one whose parts were known first.
    """
    split = {word: tuple(word) for word in words}
    known = {symbol: i for i, symbol in enumerate(sorted(set().union(*words)))}
    merges: list[tuple[str, str]] = []
    while len(merges) < n:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, parts in split.items():
            for pair in itertools.pairwise(parts):
                pairs[pair] += words[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], known[pair[0]], known[pair[1]]))
        merges.append(best)
        known.setdefault("".join(best), len(known))
        split = {word: merge(parts, best) for word, parts in split.items()}
    return merges


def merge(parts: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    """The parts with every occurrence of a pair joined, from left to right."""
    joined: list[str] = []
    for part in parts:
        if joined and (joined[-1], part) == pair:
            joined[-1] += part
        else:
            joined.append(part)
    return tuple(joined)


def apply_merges(word: str, merges: list[tuple[str, str]]) -> tuple[str, ...]:
    """A word in pieces: the merges in the order in which they were learnt."""
    parts = tuple(word)
    for pair in merges:
        parts = merge(parts, pair)
    return parts
