"""The index of signatures is datasketch's in fewer bytes: it says the same of every document."""

import random

from datasketch import MinHash, MinHashLSH

from scalinglab.corpus.duplicates import SEED, NearDuplicates, contaminated, shingle_hashes


def corpus(n: int) -> list[str]:
    """Texts of which many are edited copies of earlier ones, more and less."""
    rng = random.Random(0)
    texts: list[str] = []
    for _ in range(n):
        words = [f"w{rng.randrange(300)}" for _ in range(rng.randrange(3, 80))]
        if texts and rng.random() < 0.6:
            words = rng.choice(texts).split()
            for _ in range(rng.randrange(12)):
                words[rng.randrange(len(words))] = "edited"
        texts.append(" ".join(words))
    return texts


def test_agrees_with_datasketchs_index() -> None:
    ours = NearDuplicates(0.7, 64, 5)
    theirs, signatures = MinHashLSH(threshold=0.7, num_perm=64), {}
    found = []
    for i, text in enumerate(corpus(2500)):
        sketch = MinHash(num_perm=64, seed=SEED, hashfunc=int)
        sketch.update_batch(shingle_hashes(text, 5).tolist())
        expected = any(signatures[other].jaccard(sketch) >= 0.7 for other in theirs.query(sketch))
        if not expected:
            theirs.insert(i, sketch)
            signatures[i] = sketch
        assert ours.seen(text) == expected
        found.append(expected)
    assert 0.1 < sum(found) / len(found) < 0.9, "the corpus has both"


def test_overlap_is_counted_in_shingles_of_any_training_text() -> None:
    held_out = [("half", " ".join(f"a{i}" for i in range(40))), ("none", " ".join(f"b{i}" for i in range(40)))]
    training = [" ".join(f"a{i}" for i in range(20)), " ".join(f"c{i}" for i in range(90)), "zzz"]
    assert contaminated(held_out, iter(training), words=5, share=0.4) == {"half"}
    assert contaminated(held_out, iter(training), words=5, share=0.5) == set()
