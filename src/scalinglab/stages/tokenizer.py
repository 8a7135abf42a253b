"""tokenizer: train the BPE model on clean training text and report how well it compresses."""

from scalinglab.config import Study
from scalinglab.corpus import bpe
from scalinglab.corpus.documents import read_documents
from scalinglab.files import atomic, sha256, write_json
from scalinglab.paths import Paths


def run(study: Study) -> None:
    paths, options = Paths(study.study), study.tokenizer
    texts = (document.text for document in read_documents(paths.documents, "train"))
    model = bpe.train(texts, options.vocab_size, options.skill_symbols, options.sample_bytes)
    with atomic(paths.tokenizer) as temporary:
        temporary.write_bytes(model)
    checksum = sha256(paths.tokenizer)
    tokenizer = bpe.load(paths.tokenizer, checksum)
    size = tokens = 0
    for document in read_documents(paths.documents, "validation"):
        size += len(document.text.encode())
        tokens += len(tokenizer.encode(document.text))
    write_json(
        paths.tokenizer_report,
        {"vocab_size": tokenizer.vocab_size(), "bytes_per_token": size / tokens, "sha256": checksum},
    )
