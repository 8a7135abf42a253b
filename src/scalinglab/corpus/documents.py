"""The document table: Parquet in row groups, written and read as a stream so that no corpus sits in memory whole."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from scalinglab.errors import UserError
from scalinglab.files import atomic

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
    count = 0
    with (
        atomic(path) as temporary,
        pq.ParquetWriter(temporary, SCHEMA, compression="zstd", write_page_checksum=True) as writer,
    ):
        group: list[Document] = []
        size = 0
        for document in documents:
            group.append(document)
            size += len(document.text)
            count += 1
            if size >= GROUP_BYTES:
                writer.write_table(_table(group))
                group, size = [], 0
        if group:
            writer.write_table(_table(group))
    return count


def read_documents(path: Path, split: str | None = None) -> Iterator[Document]:
    """Yield the documents of a Parquet file, one row group in memory at a time."""
    if not path.exists():
        raise UserError(f"{path} is missing; run `snakemake --cores 2 {path}`")
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as table:
            for batch in table.iter_batches(batch_size=256):
                for row in batch.to_pylist():
                    if split is None or row["split"] == split:
                        yield Document(**row)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged ({error}); delete it and run snakemake again") from error


def _table(group: list[Document]) -> pa.Table:
    return pa.Table.from_pylist([vars(document) for document in group], schema=SCHEMA)
