"""The cleaning pass over a corpus: normalise, filter, remove duplicates, split by document hash, decontaminate."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from scalinglab.config import Clean
from scalinglab.corpus.documents import Document
from scalinglab.corpus.duplicates import NearDuplicates, contaminated
from scalinglab.corpus.filters import normalise, reason_to_drop


@dataclass
class DropReport:
    """How many documents and bytes came in, were dropped and why, and went out, by split."""

    documents: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)

    def count(self, reason: str, text: str) -> None:
        self.documents[reason] += 1
        self.bytes[reason] += len(text.encode())

    def as_dict(self) -> dict[str, dict[str, int]]:
        return {
            reason: {"documents": self.documents[reason], "bytes": self.bytes[reason]}
            for reason in sorted(self.documents)
        }


def text_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def split_of(hash_hex: str, validation_share: float) -> str:
    """`validation` or `train`, from the document's hash alone: a document never changes sides."""
    return "validation" if int(hash_hex[:8], 16) < validation_share * 2**32 else "train"


def in_sample(text: str, share: float) -> bool:
    """Whether a document belongs to the sampled share of the raw corpus, from the hash of its text alone."""
    return int(text_hash(text)[-8:], 16) < share * 2**32


def keep(raw: Iterator[Document], options: Clean, report: DropReport) -> Iterator[Document]:
    """Documents that pass every filter and are no duplicate, with their split."""
    exact: set[str] = set()
    near = NearDuplicates(options.near_duplicate_jaccard, options.minhash_permutations, options.shingle_words)
    for document in raw:
        report.count("in", document.text)
        if not in_sample(document.text, options.sample_share):
            report.count("not_sampled", document.text)
            continue
        text = normalise(document.text)
        reason = reason_to_drop(text, options)
        key = text_hash(text)
        if reason is None and key in exact:
            reason = "exact_duplicate"
        if reason is None and near.seen(text):
            reason = "near_duplicate"
        if reason:
            report.count(reason, document.text)
            continue
        exact.add(key)
        yield Document(document.source, document.path, text, split_of(key, options.validation_share))


def decontaminate(read: Callable[[str], Iterator[Document]], options: Clean, report: DropReport) -> Iterator[Document]:
    """All kept documents but the validation ones that overlap with training text.

    read: yields the kept documents of a split; called anew for each pass, so that none is held in memory.
    """
    dropped = contaminated(
        ((_key(document), document.text) for document in read("validation")),
        (document.text for document in read("train")),
        options.decontaminate_words,
        options.decontaminate_share,
    )
    for split in ("train", "validation"):
        for document in read(split):
            if split == "validation" and _key(document) in dropped:
                report.count("contaminated_validation", document.text)
                continue
            report.count(f"out_{split}", document.text)
            yield document


def _key(document: Document) -> str:
    return f"{document.source}/{document.path}"
