"""Atomic writing: whatever fails, the final name holds the old content or nothing."""

import json
from pathlib import Path

import pytest

from scalinglab import files
from scalinglab.errors import UserError


def test_failure_leaves_the_old_file_and_no_temporary(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    files.write_text(target, "old")
    with pytest.raises(ZeroDivisionError), files.atomic(target) as temporary:
        temporary.write_text("new")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_full_disk_is_one_line(tmp_path: Path) -> None:
    def no_space() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="No space left on device .* free some space"), files.atomic(tmp_path / "a"):
        no_space()
    assert not list(tmp_path.iterdir())


def test_unwritable_target_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        files.write_text(tmp_path / "file" / "below", "x")


def test_json_is_canonical(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"b": float("nan"), "a": [1.5, float("inf")]})
    files.write_json(tmp_path / "b.json", {"a": [1.5, float("inf")], "b": float("nan")})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [1.5, None], "b": None}


def test_broken_json_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(UserError, match=r"a\.json is not valid JSON"):
        files.read_json(tmp_path / "a.json")
    with pytest.raises(UserError, match=r"b\.json is missing"):
        files.read_json(tmp_path / "b.json")
