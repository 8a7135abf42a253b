"""The tables of docs/reliability.md, from the results of the soaks and benchmarks (see update_readme.py)."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

ROOT = Path(__file__).parent.parent
POINTS = {  # of benchmarks/soak.py, in words
    "any moment": "kill -9: all processes, at any moment",
    "step": "kill -9: a training job, inside a step",
    "save": "kill -9: inside a save",
    "rename": "kill -9: between writing a file and renaming it",
    "renamed": "kill -9: after a file is there, before its stage counts as done",
    "commit": "kill -9: while results are recorded in DVC's cache",
    "lock": "kill -9: while dvc.lock is written",
    "sync": "kill -9: during the sync to MLflow",
    "driver": "kill -9: Snakemake alone, its jobs left behind",
    "full disk": "no room: no file may grow beyond 30 to 1,000 kB, in any process",
}
TESTED = (  # what, in which test, what was lost
    ("a study killed at each of these points on a fixed seed, and two runs in two folders: byte for byte",
     "pipeline/test_runs.py", "nothing"),
    ("a segment, a branch, a sweep or a recipe killed after any step and continued in a new process, for each schedule",
     "stages/test_resume.py", "nothing: bitwise equal"),
    ("the newest checkpoint, or both, cut short or with a flipped bit", "stages/test_resume.py",
     "the steps since the one before, or since the segment began"),
    ("model, training state, shard, table of documents, tokenizer: any bit flipped, or cut anywhere", "test_hostile.py",
     "nothing is used: named and refused"),
    ("an object of the cache with a flipped bit; dvc.lock cut anywhere", "test_cache.py", "nothing: made anew"),
    ("no room for a file, in every stage that writes large ones", "stages/test_full_disk.py",
     "nothing: one line, and the files that stood there stay"),
    ("no room in DVC's cache, or for its own files, while results are recorded", "test_cache.py",
     "nothing: one line, and the results wait"),
    ("`params.yaml` edited between the end of a stage and its recording; a file in the way of a cached one",
     "test_cache.py", "nothing: each result belongs to its own parameters"),
    ("two Snakemakes, or one beside `dvc repro`", "test_locks.py", "nothing: the second stops, naming the first"),
    ("a stage that breaks off after some of its outputs, by both tools", "pipeline/test_runs.py", "nothing"),
    ("another study and back", "pipeline/test_changes.py", "nothing: nothing is trained"),
    ("an https server that cuts, lies, is busy, ignores ranges, never ends, mislabels, redirects to http",
     "corpus/test_fetch.py", "nothing"),
    ("archives: climbing names, links, devices, bombs, thousands of entries, arbitrary bytes",
     "corpus/test_archives.py", "nothing: refused"),
    ("arbitrary bytes as configuration, as text, as archive; hostile names", "test_hostile.py", "nothing: refused"),
)  # fmt: skip


def read(path: str) -> Any:
    return json.loads((ROOT / path).read_text(encoding="utf-8"))


def block() -> str:
    """What was tried against losing work, how often, and what was lost, in Markdown; parts not run yet are left out."""
    results = ROOT / "benchmarks/results"
    parts = {"soak": soak_rows, "soak_edits": edits_rows}
    rows = [
        row for name, part in parts.items() if (results / f"{name}.json").exists() for row in part(results_of(name))
    ]
    rows += [(what, "in `make test`", f"`tests/{where}`", lost) for what, where, lost in TESTED]
    lines = ["| what was tried | how often | where | lost |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    for name, part in {"soak": soak_line, "large_corpus": corpus_lines, "large_grid": grid_lines}.items():
        if (results / f"{name}.json").exists():
            lines += ["", *part(results_of(name))]
    return "\n".join(lines)


def results_of(name: str) -> Any:
    return read(f"benchmarks/results/{name}.json")


def soak_rows(soak: Any) -> list[tuple[str, ...]]:
    """Kills by point."""
    kills = pd.DataFrame(soak["table"]).groupby("point")["times"].sum()
    lost = "nothing" if not soak["failures"] else f"{len(soak['failures'])} studies failed a check"
    return [(POINTS[point], f"{n} times", "`benchmarks/soak.py`", lost) for point, n in kills.items()]


def soak_line(soak: Any) -> list[str]:
    """What came after the kills."""
    return [
        f"The {soak['kills']} kills hit {soak['chains']} studies, each of which was then left to end, and compared "
        "with one that was never killed: metrics, tables, figures, `dvc status`, the cache, and the MLflow store."
    ]


def edits_rows(edits: Any) -> list[tuple[str, ...]]:
    """Random edits."""
    depth = pd.DataFrame(edits["table"])["stale stages"]
    wrong = "nothing" if not edits["failures"] else f"{len(edits['failures'])} edits hit other stages"
    what = (
        f"a random parameter or source line edited (0 to {depth.max()} stages hit): exactly the right stages are stale "
        "for Snakemake and for DVC"
    )
    return [(what, f"{edits['edits']} times", "`benchmarks/soak_edits.py`", wrong)]


def corpus_lines(corpus: Any) -> list[str]:
    """Time and memory of the data stages."""
    return [
        f"A corpus of {corpus['gigabytes']:g} GB ({corpus['files']:,} files, {corpus['train_tokens']:,} training "
        "tokens of the mixture):",
        "",
        "| stage | s | peak memory, MB |",
        "|---|---|---|",
        *(f"| {row['stage']} | {row['s']} | {row['peak MB']} |" for row in corpus["table"]),
    ]


def grid_lines(grids: Any) -> list[str]:
    """Time of the tools against cells."""
    names = list(grids["exponents"])
    return [
        f"Grids of many cells, {grids['unit']} (files of the right kinds instead of training):",
        "",
        "| cells | " + " | ".join(names) + " |",
        "|---|" + "---|" * len(names),
        *(f"| {row['cells']} | " + " | ".join(f"{row[name]:.1f}" for name in names) + " |" for row in grids["table"]),
        "| time ~ cells to the | " + " | ".join(f"{grids['exponents'][name]:.2f}" for name in names) + " |",
    ]
