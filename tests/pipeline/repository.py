"""A copy of the project in a repository of its own, with the commands that users type."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from scalinglab import pipeline
from tests.conftest import copy_repository

NOTHING = "Nothing to be done"
UP_TO_DATE = "Data and pipelines are up to date."


def families(names: set[str]) -> set[str]:
    """The families of stages or jobs of some names."""
    return {re.split(r"[@-]", name)[0] for name in names}


def with_all_behind(stages: list[pipeline.Stage], names: set[str]) -> set[str]:
    """Stages of some names and all that hang off them: not every stage stands behind its inputs in dvc.yaml."""
    while True:
        outs = [out for stage in stages if stage.name in names for out in stage.outs]
        deps = {stage.name: [dep for dep in stage.deps if pipeline.is_result(dep)] for stage in stages}
        more = {
            name
            for name, own in deps.items()
            if name not in names and any(out == dep or out.startswith(f"{dep}/") for dep in own for out in outs)
        }
        if not more:
            return names
        names = names | more


class Repository:
    """A copy of the project with the commands that users type."""

    def __init__(self, root: Path) -> None:
        self.root = copy_repository(root)
        self.env = {
            **os.environ,
            "PYTHONPATH": str(self.root / "src"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }

    def call(self, *command: str, check: bool = True) -> str:
        done = subprocess.run(
            command, cwd=self.root, env=self.env, capture_output=True, text=True, timeout=900, check=False
        )
        output = done.stdout + done.stderr
        assert done.returncode == 0 or not check, output
        return output

    def start(self, *command: str) -> subprocess.Popen:
        """A command in the background; its errors come with its output."""
        pipe, errors = subprocess.PIPE, subprocess.STDOUT
        return subprocess.Popen(command, cwd=self.root, env=self.env, stdout=pipe, stderr=errors, text=True)

    def snakemake(self, *arguments: str) -> str:
        return self.call("snakemake", "--cores", "2", *arguments)

    def planned(self) -> dict[str, int]:
        """Jobs by rule that a dry run plans."""
        output = self.snakemake("-n")
        return {name: int(n) for name, n in re.findall(r"^(\w+)\s+(\d+)$", output, re.MULTILINE) if name != "total"}

    def stale(self) -> set[str]:
        """Stages that DVC would reproduce, and all that hang off them (`dvc status` does not follow those)."""
        return with_all_behind(self.stages(), set(json.loads(self.call("dvc", "status", "--json", "dvc.yaml"))))

    def stages(self) -> list[pipeline.Stage]:
        """The stages of the study, without the controlled studies beside it."""
        families = pipeline.load(self.root)
        return [stage for stage in pipeline.stages_of(families) if not stage.theory]

    def change(self, path: str, value: object) -> None:
        """Set one value of params.yaml."""
        file = self.root / "params.yaml"
        params = yaml.safe_load(file.read_text())
        *parents, last = path.split(".")
        part = params
        for name in parents:
            part = part[name]
        part[last] = value
        file.write_text(yaml.safe_dump(params, sort_keys=False))

    def jobs_run(self) -> set[str]:
        """Jobs that ran since the last call: those with a benchmark (`--touch` leaves empty files)."""
        folder = self.root / "logs/smoke"
        names = {path.stem for path in folder.glob("*.tsv") if path.stat().st_size}
        shutil.rmtree(folder, ignore_errors=True)
        return names

    def results(self) -> dict[str, bytes]:
        """Contents of every result but the records of how they were made."""
        root = self.root / "results/smoke"
        files = [p for p in sorted(root.rglob("*")) if p.is_file() and not p.name.endswith(".provenance.json")]
        return {p.relative_to(root).as_posix(): p.read_bytes() for p in files}

    def assert_clean(self) -> None:
        assert NOTHING in self.snakemake()
        assert UP_TO_DATE in self.call("dvc", "repro")
        assert UP_TO_DATE in self.call("dvc", "status", "dvc.yaml")
