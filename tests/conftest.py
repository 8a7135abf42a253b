"""Shared fixtures: the presets as studies, tiny models, and a repository copy to run the real tools in."""

import dataclasses
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from scalinglab import config
from scalinglab.config import Study
from scalinglab.model.decoder import Decoder, initialise
from scalinglab.model.shape import shape_of

ROOT = Path(__file__).parent.parent
os.environ.setdefault("OMP_NUM_THREADS", "1")


COPIES = """
stages:
  first:
    cmd: cp src/code results/a
    deps: [src]
    params: [x]
    outs: [results/a]
  second:
    cmd: cp results/a results/b
    deps: [results/a, src]
    outs: [results/b]
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Both stages have run, and DVC does not know yet."""
    monkeypatch.chdir(tmp_path)
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        subprocess.run(command, check=True)
    (tmp_path / "src").mkdir()
    (tmp_path / "results").mkdir()
    for name, text in {
        ".gitignore": "results/\n",
        "dvc.yaml": COPIES,
        "params.yaml": "study: mine\nx: 1\n",
        "src/code": "code",
        "results/a": "code",
        "results/b": "code",
    }.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def smoke() -> Study:
    return config.load(ROOT / "presets/smoke.yaml")


@pytest.fixture
def options(smoke: Study) -> config.Model:
    return smoke.model


@pytest.fixture
def tiny(options: config.Model) -> Decoder:
    """A two-layer decoder of width 16 with two heads, 50 tokens of vocabulary and 16 positions."""
    options = dataclasses.replace(options, head_dim=8)
    model = Decoder(shape_of("d16", options, vocab_size=50, seq_len=16), options)
    initialise(model, seed=0)
    return model


def copy_repository(target: Path) -> Path:
    """The working tree's tracked and new files in a git repository of their own, with smoke as its study."""
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in names:
        if (ROOT / name).exists() and not name.startswith(("results/", "dvc.lock", "studies/dvc.lock")):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    shutil.copy(target / "presets/smoke.yaml", target / "params.yaml")
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run([*git, "init", "-q"], cwd=target, check=True)
    subprocess.run([*git, "add", "-A"], cwd=target, check=True)
    subprocess.run([*git, "commit", "-qm", "copy"], cwd=target, check=True)
    return target
