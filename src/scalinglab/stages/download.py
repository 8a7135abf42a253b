"""download: every source of the study into one Parquet table of raw documents."""

from collections import Counter
from collections.abc import Iterator

from scalinglab.config import Study
from scalinglab.corpus.documents import Document, write_documents
from scalinglab.corpus.sources import read_source
from scalinglab.files import write_json
from scalinglab.paths import Paths


def run(study: Study) -> None:
    paths = Paths(study.study)
    documents: Counter[str] = Counter()
    size: Counter[str] = Counter()

    def counted() -> Iterator[Document]:
        for source in study.download.sources:
            for document in read_source(source):
                documents[source.name] += 1
                size[source.name] += len(document.text.encode())
                yield document

    write_documents(paths.raw, counted())
    write_json(
        paths.of("download", "sources.json"),
        {name: {"documents": documents[name], "bytes": size[name]} for name in documents},
    )
