"""The DVC cache, as the one driver process uses it: record finished stages, restore what the cache holds.

This is the only module that touches DVC's Python API. `index.graph`, the run cache and `dump_stages` are semi-public:
tests/test_cache.py holds them to what is needed here.
"""

import atexit
import logging
import sqlite3
import sys
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from dvc.dependency import ParamsDependency
from dvc.dependency.base import Dependency
from dvc.exceptions import ConfirmRemoveError, DvcException
from dvc.output import Output
from dvc.repo import Repo, lock_repo
from dvc.repo.reproduce import plan_repro
from dvc.rwlock import _edit_rwlock, rwlock
from dvc.stage import PipelineStage
from dvc_data.hashfile.hash_info import HashInfo

from scalinglab import dvc_files, files
from scalinglab.errors import UserError

SOURCES = "src/"  # what no stage writes, so that one look is enough


@contextmanager
def opened(names: Collection[str] | None = None) -> Iterator["Cache"]:
    """The repository's cache, locked until the end of the block; waits while another process holds the lock.

    names: of the stages that it is about, with all that they depend on; by default every stage. Raises UserError
    outside a DVC repository, and where DVC cannot read or write its files.
    """
    dvc_files.drop_broken_rwlock()
    logging.getLogger("dvc").setLevel(logging.ERROR)
    logging.getLogger("dvc_data").setLevel(logging.ERROR)
    try:
        with Repo(".", _wait_for_lock=True) as repo, lock_repo(repo):
            dvc_files.check_lock_files(repo)
            yield Cache(repo, names)
    except DvcException as error:
        raise UserError(f"DVC: {error}; `dvc doctor` and `dvc status` tell more") from error
    except (OSError, sqlite3.Error) as error:
        raise UserError(f"DVC cannot read or write its files: {error}; is the disk full? then run again") from error


@dataclass
class Verified:
    """Recorded files by what became of them.

    damaged: other bytes under the old time stamp, in the folder or in the cache; they are removed. changed: other
    bytes, written since. missing: not in the folder.
    """

    whole: int = 0
    damaged: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


class Cache:
    """Stages are named as DVC names them, `anneal@d64-1M`."""

    def __init__(self, repo: Repo, names: Collection[str] | None = None) -> None:
        self._repo = repo
        # Stages that a pass found, or made, up to date: asking DVC again costs as much as the first time.
        self._current: set[str] = set()
        # Whether a source differs from the hash that some stage recorded of it.
        self._differing: dict[tuple[str, str], bool] = {}
        self._locked: dict[str, str] | None = None  # until dvc.lock is written again
        every = [stage for stage in plan_repro(repo.index.graph) if isinstance(stage, PipelineStage)]
        self._stages = [stage for stage in every if names is None or stage.addressing in names]

    def restore(self) -> list[str]:
        """Check out, upstream first, every changed stage whose result for the present inputs is cached."""
        restored = []
        for stage in self._stages:
            if not all(dep.exists for dep in stage.deps):
                continue
            if not self._changed(stage):
                self._current.add(stage.addressing)
                continue
            if self._check_out(stage):
                stage.save(run_cache=False)
                restored.append(stage)
                self._current.add(stage.addressing)
        self._dump(restored)
        return [stage.addressing for stage in restored]

    def _check_out(self, stage: PipelineStage) -> bool:
        """Put the cached result for the stage's present inputs into the folder; return whether there is a sound one.

        It replaces whatever stands there: what could be wanted again has been remembered before.
        """
        for _ in range(2):
            try:
                with _put_back(stage):
                    self._repo.stage_cache.restore(stage)
                    return self._sound(stage)
            except ConfirmRemoveError:  # DVC does not replace files that its cache lacks
                for out in stage.outs:
                    out.remove()
            except DvcException:
                return False
        return False

    def _sound(self, stage: PipelineStage) -> bool:
        """Whether the files that were checked out are what was recorded; damaged ones go, from the cache as well.

        DVC trusts its cache: it would write the damaged file's own hash to dvc.lock. An object is named after its
        content, so a file whose hash names no object is a copy of a damaged one.
        """
        damaged = [out for out in stage.outs if not self._object(files.md5(Path(out.fs_path))).exists()]
        for out in damaged:
            recorded = (self._repo.stage_cache._load(stage) or {"outs": []})["outs"]
            names = {entry["md5"] for entry in recorded if entry["path"] == out.def_path}
            for name in names | ({out.hash_info.value} if out.hash_info else set()):
                self._drop_if_damaged(name, out)
            out.remove()
        return not damaged

    def _object(self, md5: str) -> Path:
        """Where the cache keeps the file with this hash."""
        return Path(self._repo.cache.local.oid_to_path(md5))

    def _drop_if_damaged(self, md5: str, out: Output) -> bool:
        """Remove an object from the cache, and say so, where it is not what its name says."""
        held = self._object(md5)
        if not held.exists() or files.md5(held) == md5:
            return False
        held.unlink()
        print(f"the cached copy of {out.def_path} was damaged and is removed ({held})", file=sys.stderr)
        return True

    def verify(self) -> Verified:
        """Read every recorded result again, in the folder and in the cache; remove what is damaged.

        Otherwise a file counts as unchanged as long as its size and time stamp are.
        """
        found = Verified()
        for stage in self._stages:
            for out in stage.outs:
                wanted, path = out.hash_info.value, Path(out.fs_path)
                if not wanted:  # never recorded
                    continue
                if self._drop_if_damaged(wanted, out):
                    found.damaged.append(str(self._object(wanted)))
                if not path.exists():
                    found.missing.append(out.def_path)
                elif files.md5(path) == wanted:
                    found.whole += 1
                elif out.changed_checksum():  # its time stamp tells of it too: an ordinary run will see it
                    found.changed.append(out.def_path)
                else:
                    path.unlink()
                    found.damaged.append(out.def_path)
        return found

    def record(self, names: set[str]) -> set[str]:
        """Store the outputs of finished stages and write them to dvc.lock, all in one go; return which could be stored.

        Without relinking: new links would get new time stamps, and Snakemake would take them for new results.
        """
        stored = []
        for stage in (stage for stage in self._stages if stage.addressing in names):
            stage.save()
            stage.commit(relink=False)
            if stage.outs_cached():  # DVC says nothing where the disk is full
                stored.append(stage)
        self._dump(stored)
        self._current |= {stage.addressing for stage in stored}
        return {stage.addressing for stage in stored}

    def keep(self, params_of: dict[str, dict[str, Any]]) -> set[str]:
        """Put what stands in the folder into the run cache as results for other parameters than the present ones.

        params_of: for each stage, its parameters by dotted key; its other inputs are those on disk. dvc.lock does not
        learn of it. Returns the stages that could be stored.
        """
        stored = set()
        for stage in (stage for stage in self._stages if stage.addressing in params_of):
            values = params_of[stage.addressing]
            with _put_back(stage):
                stage.save(run_cache=False)
                for dep in stage.deps:
                    if isinstance(dep, ParamsDependency):
                        chosen = {key: values[key] for key in dep.params}
                        dep.hash_info = HashInfo(dep.PARAM_PARAMS, chosen)  # type: ignore[arg-type]
                stage.commit(relink=False)
                self._repo.stage_cache.save(stage)
                if stage.outs_cached():
                    stored.add(stage.addressing)
        return stored

    def strays(self, known: dict[str, str], valid: set[str], waiting: set[str]) -> set[str]:
        """Stages right behind those that are up to date, whose outputs neither dvc.lock nor Snakemake vouches for.

        known: for each stage, the entry of dvc.lock (as in `locked`) that Snakemake knows its outputs by.
        valid: stages that are up to date. waiting: stages that Snakemake made with other parameters. What comes after
        a stray is made anew with it.
        """
        locked, graph = self.locked(), self._repo.index.graph
        behind = [
            stage
            for stage in self._stages
            if stage.addressing not in valid | waiting and all(s.addressing in valid for s in graph.successors(stage))
        ]
        return {
            stage.addressing
            for stage in behind
            if stage.addressing not in locked
            or known.get(stage.addressing) != locked[stage.addressing]
            or stage.changed_outs()
        }

    def keep_writers_out(self) -> None:
        """Until this process ends, `dvc repro` says that we run here, before it removes the outputs of a stage.

        `dvc status` may still read. The entry of a driver that was killed goes first: its number may be another's now.
        """
        tmp, hardlink = self._repo.tmp_dir, self._repo.config["core"].get("hardlink_lock", False)
        with _edit_rwlock(tmp, self._repo.fs, hardlink) as entries:
            entries["read"].pop(str(Path("results").resolve()), None)
        stack = ExitStack()
        stack.enter_context(
            rwlock(tmp, self._repo.fs, " ".join(sys.argv), [str(Path("results").resolve())], [], hardlink)
        )
        atexit.register(stack.close)

    def remember(self, names: set[str]) -> None:
        """Put recorded results into the run cache, whole: DVC leaves out stages with a file in git.

        Those whose files are no longer what was recorded are left alone.
        """
        for stage in self._stages:
            if stage.addressing in names and all(dep.exists for dep in stage.deps) and all(map(_stands, stage.outs)):
                self._repo.stage_cache.save(stage)

    def locked(self) -> dict[str, str]:
        """Digest of the entry in dvc.lock of each stage that has one: which run its outputs were last recorded of."""
        if self._locked is not None:
            return self._locked
        found: dict[str, str] = {}
        for lock in filter(Path.exists, dvc_files.LOCK_FILES):
            prefix = "" if lock.parent == Path() else f"{lock.with_suffix('.yaml')}:"
            stages = yaml.load(lock.read_text(encoding="utf-8"), yaml.CSafeLoader).get("stages", {})
            found |= {prefix + name: files.digest(entry) for name, entry in stages.items()}
        self._locked = found
        return found

    def valid(self) -> list[str]:
        """Every stage that is up to date, all stages before it included."""
        found: dict[str, None] = {}  # in their order
        graph = self._repo.index.graph
        for stage in self._stages:
            if not all(before.addressing in found for before in graph.successors(stage)):
                continue
            if stage.addressing in self._current or not self._changed(stage):
                found[stage.addressing] = None
        return list(found)

    def _changed(self, stage: PipelineStage) -> bool:
        """DVC's `changed` for a stage that is neither frozen nor always changed, as none of ours is.

        DVC would hash the same folders of code again for each of hundreds of stages.
        """
        return stage.changed_stage() or any(map(self._differs, stage.deps)) or stage.changed_outs()

    def _differs(self, dep: Dependency) -> bool:
        if isinstance(dep, ParamsDependency) or not dep.def_path.startswith(SOURCES):
            return bool(dep.status())
        key = (dep.def_path, str(dep.hash_info))
        if key not in self._differing:
            self._differing[key] = bool(dep.status())
        return self._differing[key]

    def _dump(self, stages: list[PipelineStage]) -> None:
        self._locked = None
        for lock in dvc_files.LOCK_FILES:
            if here := [stage for stage in stages if Path(stage.path_in_repo).with_suffix(".lock") == lock]:
                with dvc_files.rewriting(lock):
                    here[0].dvcfile.dump_stages(here, update_pipeline=False)


@contextmanager
def _put_back(stage: PipelineStage) -> Iterator[None]:
    """Afterwards the stage's inputs and outputs are again as dvc.lock has them.

    DVC puts the present hashes into a stage before it looks into the run cache. Left there, the next look would take
    dvc.lock's outputs, of other inputs, for those of the present ones.
    """
    before = [(part, part.hash_info, part.meta, part.obj) for part in (*stage.deps, *stage.outs)]
    try:
        yield
    finally:
        for part, hash_info, meta, obj in before:
            part.hash_info, part.meta, part.obj = hash_info, meta, obj


def _stands(out: Output) -> bool:
    """Whether the file in the folder is the recorded one."""
    path = Path(out.fs_path)
    return bool(out.hash_info) and path.exists() and files.md5(path) == out.hash_info.value
