"""Shared fixtures: the presets as studies, tiny models, and a repository copy to run the real tools in."""

import dataclasses
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

from scalinglab import config
from scalinglab.config import Source, Study
from scalinglab.corpus.sources import folder_digest
from scalinglab.files import write_json
from scalinglab.model.decoder import Decoder, initialise
from scalinglab.model.shape import shape_of
from scalinglab.paths import Paths
from scalinglab.stages import clean, download, encode, tokenizer

ROOT = Path(__file__).parent.parent
JINJA = Path(jinja2.__file__).parent
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


@pytest.fixture
def text_study(smoke: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """The smoke study on the source of one installed package; the working directory is the study's."""
    monkeypatch.chdir(tmp_path)
    source = Source("jinja", "local", path=str(JINJA), sha256=folder_digest(JINJA, ("**/*.py",)))
    return dataclasses.replace(smoke, download=dataclasses.replace(smoke.download, sources=(source,)))


@pytest.fixture
def params(text_study: Study) -> dict[str, Any]:
    """All parameters of that study, whose data are made, and the study of positions made tiny."""
    for stage in (download, clean, tokenizer, encode):
        stage.run(text_study)
    write_json(Paths("smoke").rate_law, {"prefactor": 0.02, "exponent": 0.0})
    values = yaml.safe_load((ROOT / "presets/smoke.yaml").read_text())
    values["training"] |= {"batch_tokens": 256, "warmup_tokens": 512}
    values["theory"] = yaml.safe_load((ROOT / "studies/positions.yaml").read_text())["theory"]
    values["theory"]["positions"] |= {
        "size": "d8", "tokens": "4k", "seeds": [1, 2, 3], "rates": [0.5, 1, 2],
        "variants": {name: {"model": {"position": name}} for name in ("rope", "learned", "alibi")},
    }  # fmt: skip
    return values


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
