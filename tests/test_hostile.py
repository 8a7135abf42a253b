"""What must hold whatever the input: no pickle, no shell injection, no open port, and damage is never read as data."""

import ast
import contextlib
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scalinglab import config, pipeline, shards
from scalinglab.config import Study
from scalinglab.corpus.cleaning import DropReport, keep
from scalinglab.corpus.documents import Document, read_documents, write_documents
from scalinglab.corpus.duplicates import shingle_hashes
from scalinglab.corpus.filters import normalise
from scalinglab.corpus.sources import decode
from scalinglab.errors import UserError
from scalinglab.files import write_json
from scalinglab.model.decoder import Decoder
from scalinglab.model.weights import load_tensors, save_tensors
from scalinglab.tools import ui
from tests.conftest import ROOT

SOURCES = sorted((ROOT / "src").rglob("*.py"))
FUZZ = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT / "src").as_posix())
def test_nothing_is_unpickled(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    names = {alias.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
    names |= {(n.module or "").split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert not names & {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
    assert not re.search(r"torch\.(load|save)\(|read_pickle|to_pickle|allow_pickle=True|yaml\.load\((?!.*CSafe)", text)
    assert not re.search(r"\b(eval|exec)\(|shell=True", text.replace(".eval()", ""))


STRINGS = st.text() | st.sampled_from(
    ["$(touch x)", "a;b", "../up", "a b", "`id`", "-x", "a\nb", "{x}", "d8 --budget 1"]
)


@FUZZ
@given(key=st.sampled_from(["study", "grid.sizes", "grid.budgets", "tune.sizes", "ladder.sizes"]), text=STRINGS)
def test_no_name_of_the_config_reaches_the_shell_as_more_than_a_word(key: str, text: str) -> None:
    """Either it is refused, or every command of the DAG has the words that a plain name would give."""
    params = yaml.safe_load((ROOT / "presets/smoke.yaml").read_text())
    section, _, name = key.partition(".")
    if name:
        params[section][name] = [text, *params[section][name][1:]]
    else:
        params[section] = text
    try:
        config.parse(params)
    except UserError:
        return
    declared = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for family, spec in declared.items():
        for stage in pipeline._family(Path(), family, spec, params).stages:
            assert shlex.split(stage.cmd) == stage.cmd.split()
            assert re.fullmatch(r"[\w ./=@-]+", stage.cmd)
            assert all(re.fullmatch(r"[\w./@-]+", out) and ".." not in out for out in stage.outs)


@FUZZ
@given(data=st.binary(max_size=300))
def test_arbitrary_bytes_as_params_are_one_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "params.yaml").write_bytes(data)
    with pytest.raises(UserError) as caught:
        config.parse(pipeline.read_params(tmp_path))
    assert str(caught.value).startswith("params.yaml")


@FUZZ
@given(data=st.lists(st.binary(max_size=300), max_size=4), how=st.sampled_from(["error", "skip", "replace"]))
def test_cleaners_take_arbitrary_bytes(smoke: Study, data: list[bytes], how: str) -> None:
    documents = []
    for i, piece in enumerate(data):
        with contextlib.suppress(UserError):
            if (text := decode(piece, "here", how)) is not None:
                documents.append(Document("fuzz", str(i), text))
    report = DropReport()
    kept = list(keep(iter(documents), smoke.clean, report))
    assert (
        report.documents["in"]
        == len(documents)
        == len(kept) + sum(n for reason, n in report.documents.items() if reason != "in")
    )
    for document in documents:
        assert normalise(normalise(document.text)) == normalise(document.text)
        assert len(shingle_hashes(document.text, 5)) >= 1


@pytest.fixture(scope="module")
def shard_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    rows = np.arange(40 * 17, dtype=np.uint16).reshape(40, 17)
    for name in shards.NAMES:
        with open(folder / name, "wb") as stream:
            shards.write_header(stream, np.uint16, rows.shape)
            stream.write(rows.tobytes())
    write_json(folder / shards.MANIFEST, {"sha256": shards.checksums(folder)})
    return folder


PLACE = st.tuples(st.integers(0), st.integers(0, 7), st.booleans())


@contextlib.contextmanager
def damaged(path: Path, place: tuple[int, int, bool]) -> Any:
    """A file with one bit flipped, or cut short, for the length of a block."""
    whole = path.read_bytes()
    at = place[0] % len(whole)
    changed = bytearray(whole)
    changed[at] ^= 1 << place[1]
    path.write_bytes(whole[:at] if place[2] else changed)
    try:
        yield
    finally:
        path.write_bytes(whole)


@FUZZ
@given(place=PLACE, name=st.sampled_from(shards.NAMES))
def test_a_damaged_shard_is_never_read(shard_folder: Path, place: tuple[int, int, bool], name: str) -> None:
    shards.open_shard(shard_folder, name)
    with damaged(shard_folder / name, place), pytest.raises(UserError, match=name):
        shards.open_shard(shard_folder, name)


@FUZZ
@given(place=PLACE)
def test_a_damaged_model_is_never_read(tmp_path: Path, tiny: Decoder, place: tuple[int, int, bool]) -> None:
    path = tmp_path / "m.safetensors"
    save_tensors(path, tiny.state_dict(), {"step": 1})
    load_tensors(path)
    with damaged(path, place), pytest.raises(UserError, match="m.safetensors is damaged"):
        load_tensors(path)


@FUZZ
@given(place=PLACE)
def test_a_damaged_table_of_documents_is_never_read_as_others(tmp_path: Path, place: tuple[int, int, bool]) -> None:
    """A bit that no reader looks at may differ."""
    path = tmp_path / "documents.parquet"
    written = [Document("s", f"{i}.py", f"text {i}\n" * 20, "train") for i in range(50)]
    if not path.exists():
        write_documents(path, written)
    with damaged(path, place):
        try:
            found = list(read_documents(path))
        except UserError as error:
            found = written
            assert "documents.parquet is damaged" in str(error)  # noqa: PT017
    assert found == written


def test_the_ui_listens_on_this_machine_only(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(ui.tracking, "sync", lambda params: 0)
    monkeypatch.setattr(ui.pipeline, "read_params", dict)
    monkeypatch.setattr(ui.os, "execv", lambda program, command: commands.append(command))
    ui.run(type("Arguments", (), {"port": 5000})())
    assert commands[0][commands[0].index("--host") + 1] == "127.0.0.1"
