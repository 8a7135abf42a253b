"""Files that DVC writes in place, so that a killed process may leave them half written, and how they are mended."""

import json
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dvc.repo import Repo

from scalinglab import files

LOCK_FILE = Path("dvc.lock")
BEFORE = Path(".scratch/dvc.lock.before")  # a copy, while we write dvc.lock
ASIDE = Path(".scratch/dvc.lock.broken")
# A hash that is cut short, or of no kind that DVC writes here, can only be the end of a file that was cut.
BROKEN_ENTRY = re.compile(r"^\s*md5:(?! [0-9a-f]{32}(\.dir)?$)|^\s*-? *hash:(?! md5$)", re.MULTILINE)


def drop_broken_rwlock() -> None:
    """Remove .dvc/tmp/rwlock where a killed process left it half written: DVC would not start.

    It says which processes use which files at this moment, so nothing is lost.
    """
    path = Path(".dvc/tmp/rwlock")
    try:
        if path.exists():
            json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        path.unlink(missing_ok=True)


def check_lock_file(repo: Repo) -> None:
    """Set dvc.lock aside where a killed process left it half written: DVC writes it in place.

    It may then be no YAML, or YAML that DVC chokes on, or quietly another result. Nothing is lost, since the run cache
    holds every recorded result and `restore` writes the file anew. Raises what DVC raises where it is not dvc.lock that
    cannot be read.
    """
    if BEFORE.exists():  # one of ours was killed while it wrote, or had just ended, or it was written again since
        whole = LOCK_FILE.exists() and not _broken(LOCK_FILE) and set(_stages_in(BEFORE)) <= set(_stages_in(LOCK_FILE))
        if whole:
            BEFORE.unlink()
        else:
            shutil.move(BEFORE, LOCK_FILE)
    if not (LOCK_FILE.exists() and _broken(LOCK_FILE)):
        try:
            _ = repo.index.graph
            return
        except Exception:
            if not LOCK_FILE.exists():
                raise
    ASIDE.parent.mkdir(exist_ok=True)
    shutil.move(LOCK_FILE, ASIDE)
    repo._reset()
    try:
        _ = repo.index.graph
    except Exception:
        shutil.move(ASIDE, LOCK_FILE)
        raise
    print(f"dvc.lock was cut short by a crash; it is made anew ({ASIDE} is the old one)", file=sys.stderr)


def _broken(path: Path) -> bool:
    """Whether a lock file shows that it was cut."""
    text = path.read_text(encoding="utf-8", errors="replace")
    return not text.strip() or bool(BROKEN_ENTRY.search(text))


def _stages_in(path: Path) -> list[str]:
    """Names of the stages in a lock file, read by their indentation: it may be no YAML any more."""
    return re.findall(r"^  (\S+):$", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)


@contextmanager
def rewriting_lock_file() -> Iterator[None]:
    """Keep a copy of dvc.lock while the block writes it: where it is killed, `check_lock_file` puts the copy back."""
    BEFORE.parent.mkdir(exist_ok=True)
    if LOCK_FILE.exists():
        with files.atomic(BEFORE) as temporary:
            shutil.copy(LOCK_FILE, temporary)
    yield
    BEFORE.unlink(missing_ok=True)
