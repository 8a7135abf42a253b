"""The README's numbers are those of the published files."""

import subprocess
import sys

from tests.conftest import ROOT


def test_results_block_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "docs/update_readme.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_pictures_in_the_readme_exist() -> None:
    text = (ROOT / "README.md").read_text()
    pictures = [part.split(")")[0] for part in text.split("](")[1:] if part.split(")")[0].endswith(".png")]
    assert len(pictures) >= 4
    assert all((ROOT / picture).exists() for picture in pictures)
