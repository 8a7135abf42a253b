"""Where each stage's files stand: the same paths as in dvc.yaml (a test compares them)."""

from dataclasses import dataclass
from pathlib import Path

SYNC_DUE = Path(".scratch/sync-due")  # stands while MLflow may lack what results/ holds
# Which run Snakemake knows the outputs of each valid stage of, stage -> digest of its dvc.lock entry: beside its own
# memory, so that the two are deleted together.
KNOWN = Path(".snakemake/scalinglab.json")


@dataclass(frozen=True)
class Paths:
    """Paths of one study, relative to the repository root."""

    study: str

    @property
    def root(self) -> Path:
        return Path("results") / self.study

    def of(self, stage: str, name: str) -> Path:
        """File `name` of a stage."""
        return self.root / stage / name

    def trunk(self, size: str, budget: str) -> Path:
        return self.root / "trunk" / size / f"{budget}.safetensors"

    def cell(self, stage: str, size: str, budget: str, suffix: str) -> Path:
        """A per-cell file of a stage, such as anneal/d64-1M.safetensors."""
        return self.root / stage / f"{size}-{budget}{suffix}"

    def evaluation(self, after: str, size: str, budget: str) -> Path:
        """A cell's evaluation, in the folder of the stage that had to end before it."""
        return self.root / "evaluate" / after / f"{size}-{budget}.json"

    @property
    def raw(self) -> Path:
        return self.of("download", "raw.parquet")

    @property
    def documents(self) -> Path:
        return self.of("clean", "documents.parquet")

    @property
    def tokenizer(self) -> Path:
        return self.of("tokenizer", "bpe.model")

    @property
    def tokenizer_report(self) -> Path:
        return self.of("tokenizer", "report.json")

    @property
    def manifest(self) -> Path:
        return self.of("encode", "manifest.json")

    @property
    def rate_law(self) -> Path:
        return self.of("rates", "law.json")

    @property
    def cells(self) -> Path:
        return self.of("table", "cells.csv")


def theory_folder(theory: str) -> Path:
    """Where the results of a controlled study stand."""
    return Path("results/theory") / theory


def theory_runs(theory: str) -> Path:
    """One table of runs for each of its variants."""
    return theory_folder(theory) / "runs"
