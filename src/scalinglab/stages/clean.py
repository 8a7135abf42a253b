"""clean: raw documents to clean ones with a split, and a report of what was dropped and why."""

from scalinglab.config import Study
from scalinglab.corpus.cleaning import DropReport, decontaminate, keep
from scalinglab.corpus.documents import read_documents, write_documents
from scalinglab.errors import UserError
from scalinglab.files import write_json
from scalinglab.paths import Paths


def run(study: Study) -> None:
    paths = Paths(study.study)
    report = DropReport()
    # The first pass writes the kept documents beside the final file: decontamination reads them twice more.
    kept = paths.of("clean", ".kept.tmp")
    try:
        write_documents(kept, keep(read_documents(paths.raw), study.clean, report))
        write_documents(
            paths.documents,
            decontaminate(lambda split: read_documents(kept, split), study.clean, report),
        )
    finally:
        kept.unlink(missing_ok=True)
    for split in ("train", "validation"):
        if not report.documents[f"out_{split}"]:
            paths.documents.unlink()
            raise UserError(
                f"no {split} document is left after cleaning {report.documents['in']} documents "
                f"(dropped: {report.as_dict()}); relax clean: in params.yaml or add sources"
            )
    write_json(paths.of("clean", "report.json"), report.as_dict())
