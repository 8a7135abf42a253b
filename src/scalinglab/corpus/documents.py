"""The document table: Parquet in row groups, written and read as a stream so that no corpus sits in memory whole."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from scalinglab.errors import UserError
from scalinglab.files import atomic

CONTENTS = "contents"  # metadata: how many documents, and a checksum of all of them
GROUP_BYTES = 8_000_000  # text per row group: bounds the memory of writer and reader
SCHEMA = pa.schema([("source", pa.string()), ("path", pa.string()), ("split", pa.string()), ("text", pa.string())])


@dataclass(frozen=True)
class Document:
    """One text with where it came from. `split` is empty until the clean stage assigns it."""

    source: str
    path: str
    text: str
    split: str = ""


def write_documents(path: Path, documents: Iterable[Document]) -> int:
    """Write documents to Parquet atomically; return how many."""
    whole = _Sum()
    with atomic(path) as temporary, pq.ParquetWriter(
        temporary, SCHEMA, compression="zstd", write_page_checksum=True
    ) as writer:  # fmt: skip
        group: list[Document] = []
        size = 0
        for document in documents:
            group.append(document)
            size += len(document.text)
            whole.add(document)
            if size >= GROUP_BYTES:
                writer.write_table(_table(group))
                group, size = [], 0
        if group:
            writer.write_table(_table(group))
        writer.add_key_value_metadata({CONTENTS: whole.hex()})
    return whole.count


def read_documents(path: Path, split: str | None = None) -> Iterator[Document]:
    """Yield the documents of a Parquet file, one row group in memory at a time.

    Raises UserError where it is missing, and where it is not what was written: at a damaged page, or at the end. Pages
    have checksums, what lists them has none: a flipped bit there can hide all of them.
    """
    if not path.exists():
        raise UserError(f"{path} is missing; run `snakemake --cores 2 {path}`")
    whole = _Sum()
    try:
        # pre_buffer, the default, would keep all that was read until the end.
        with pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False) as table:
            written = (table.metadata.metadata or {}).get(CONTENTS.encode(), b"").decode()
            for batch in table.iter_batches(batch_size=256):
                for row in batch.to_pylist():
                    document = Document(**row)
                    whole.add(document)
                    if split is None or document.split == split:
                        yield document
    except (pa.ArrowException, OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({error}); delete it and run snakemake again") from error
    if whole.hex() != written:
        raise UserError(f"{path} is damaged (its documents are not those that were written); delete it and run again")


class _Sum:
    """A running SHA-256 over documents, and how many there were."""

    def __init__(self) -> None:
        self._hash, self.count = hashlib.sha256(), 0

    def add(self, document: Document) -> None:
        self.count += 1
        for field in (document.source, document.path, document.split, document.text):
            data = field.encode()
            self._hash.update(len(data).to_bytes(8, "little") + data)

    def hex(self) -> str:
        return f"{self.count} {self._hash.hexdigest()}"


def _table(group: list[Document]) -> pa.Table:
    return pa.Table.from_pylist([vars(document) for document in group], schema=SCHEMA)
