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

LOCK_FILES = (Path("dvc.lock"), Path("studies/dvc.lock"))  # one beside each dvc.yaml
SCRATCH = Path(".scratch")
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


def check_lock_files(repo: Repo) -> None:
    """Set a dvc.lock aside where a killed process left it half written: DVC writes it in place.

    It may then be no YAML, or YAML that DVC chokes on, or quietly another result. Nothing is lost, since the run cache
    holds every recorded result and `restore` writes the file anew. Raises what DVC raises where it is no dvc.lock that
    cannot be read.
    """
    for lock in LOCK_FILES:
        _settle(lock)
    suspects = [lock for lock in LOCK_FILES if lock.exists() and _broken(lock)]
    if not suspects:
        try:
            _ = repo.index.graph
            return
        except Exception:
            if not (suspects := [lock for lock in LOCK_FILES if lock.exists()]):
                raise
    for lock in suspects:
        _beside(lock, "broken").parent.mkdir(exist_ok=True)
        shutil.move(lock, _beside(lock, "broken"))
    repo._reset()
    try:
        _ = repo.index.graph
    except Exception:
        for lock in suspects:
            shutil.move(_beside(lock, "broken"), lock)
        raise
    for lock in suspects:
        print(f"{lock} was cut short by a crash; it is made anew ({_beside(lock, 'broken')} is the old one)",
              file=sys.stderr)  # fmt: skip


def _settle(lock: Path) -> None:
    """Put the copy back where we were killed while we wrote.

    If all that the copy holds is in the lock file, we had just ended, or it has been written again since.
    """
    if (before := _beside(lock, "before")).exists():
        if lock.exists() and not _broken(lock) and set(_stages_in(before)) <= set(_stages_in(lock)):
            before.unlink()
        else:
            shutil.move(before, lock)


def _beside(lock: Path, kind: str) -> Path:
    """Where a copy of a lock file stands: `before` we write it, or a `broken` one."""
    return SCRATCH / f"{lock.as_posix().replace('/', '-')}.{kind}"


def _broken(path: Path) -> bool:
    """Whether a lock file shows that it was cut."""
    text = path.read_text(encoding="utf-8", errors="replace")
    return not text.strip() or bool(BROKEN_ENTRY.search(text))


def _stages_in(path: Path) -> list[str]:
    """Names of the stages in a lock file, read by their indentation: it may be no YAML any more."""
    return re.findall(r"^  (\S+):$", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)


@contextmanager
def rewriting(lock: Path) -> Iterator[None]:
    """Keep a copy of a lock file while the block writes it: where it is killed, `check_lock_files` puts it back."""
    before = _beside(lock, "before")
    before.parent.mkdir(exist_ok=True)
    if lock.exists():
        with files.atomic(before) as temporary:
            shutil.copy(lock, temporary)
    yield
    before.unlink(missing_ok=True)
