"""A corpus of 2 GB through download, clean, tokenizer and encode: seconds, and the most memory that each process used.

The text is made of lines of installed Python sources in random order, so that documents differ; one in twenty is an
exact copy of another, one in twenty a copy with a line changed. Prints a table and writes
benchmarks/results/large_corpus.json.
"""

import argparse
import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pandas as pd
import yaml

from scalinglab.corpus.sources import folder_digest

ROOT = Path(__file__).parent.parent
PACKAGES = ("sympy", "networkx", "pandas", "numpy", "scipy", "matplotlib")
LINES_A_FILE = (20, 400)


def documents(size: int) -> Iterator[str]:
    """Texts of `size` bytes together."""
    rng = random.Random(0)
    homes = [Path(str(__import__(name).__file__)).parent for name in PACKAGES]
    texts = [path.read_text(encoding="utf-8", errors="ignore") for home in homes for path in home.rglob("*.py")]
    lines = [line for text in texts for line in text.split("\n") if len(line) < 500]
    made = 0
    recent: list[list[str]] = []
    while made < size:
        own = rng.choices(lines, k=rng.randint(*LINES_A_FILE))
        kind = rng.random()
        if recent and kind < 0.1:
            own = list(rng.choice(recent))
            if kind < 0.05:
                own[rng.randrange(len(own))] = "# changed"
        else:
            recent = [*recent[-50:], own]
        text = "\n".join(own) + "\n"
        made += len(text.encode())
        yield text


def write_corpus(folder: Path, size: int) -> int:
    """Files of text in folders of 1,000; returns how many."""
    for count, text in enumerate(documents(size)):
        path = folder / f"{count // 1000}/{count}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return count + 1


def run_stage(name: str) -> dict[str, object]:
    """Seconds and peak memory of one stage in the working directory."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "scalinglab", name], env={**os.environ, "OMP_NUM_THREADS": "1"})
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"stage {name} failed")
    row = {"stage": name, "s": round(time.perf_counter() - started), "peak MB": round(usage.ru_maxrss / 1024)}
    print(row, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        for name in ("src", "dvc.yaml"):
            Path(name).symlink_to(ROOT / name)
        # In a process of its own: the peak of a new process starts at what its parent uses.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            files = pool.submit(write_corpus, Path("corpus"), int(arguments.gigabytes * 1e9)).result()
        params = yaml.safe_load((ROOT / "presets/laptop.yaml").read_text())
        digest = folder_digest(Path("corpus"), ("**/*.py",))
        source = {"name": "made", "kind": "local", "path": "corpus", "patterns": ["**/*.py"], "sha256": digest}
        params["download"]["sources"] = [source]
        params["clean"]["sample_share"] = 1.0
        Path("params.yaml").write_text(yaml.safe_dump(params))
        table = pd.DataFrame([run_stage(name) for name in ("download", "clean", "tokenizer", "encode")])
        report = json.loads(Path("results/laptop/clean/report.json").read_text())
        tokens = json.loads(Path("results/laptop/encode/manifest.json").read_text())["train_tokens"]
        os.chdir(ROOT)
    print(table.to_string(index=False))
    record = {
        "gigabytes": arguments.gigabytes,
        "files": files,
        "clean": {reason: row["documents"] for reason, row in report.items()},
        "train_tokens": tokens,
        "table": table.to_dict("records"),
    }
    (ROOT / "benchmarks/results/large_corpus.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
