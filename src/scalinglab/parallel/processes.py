"""Starting a group of processes that talk through torch.distributed, on this machine, and what they have sent."""

import json
import os
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import ProcessRaisedException, spawn

COUNTERS = Path("/proc/self/net/dev")  # of Linux


def run(world: int, work: Callable[..., Any], *arguments: object) -> list[Any]:
    """What `work(*arguments)` returns in each of `world` processes, by rank; values as JSON has them.

    work: a function at the top level of a module. An exception in any process ends all; raises RuntimeError with the
    first one.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            spawn(_in_group, args=(world, folder, work, arguments), nprocs=world)
        except ProcessRaisedException as error:
            # The others fail too, for want of this one, and may be noticed before it.
            errors = sorted(Path(folder).glob("*.error"), key=lambda path: path.stat().st_mtime_ns)
            raise RuntimeError(errors[0].read_text(encoding="utf-8")) from error
        return [json.loads((Path(folder) / f"{rank}.json").read_text(encoding="utf-8")) for rank in range(world)]


def _in_group(rank: int, world: int, folder: str, work: Callable[..., Any], arguments: tuple[object, ...]) -> None:
    warnings.filterwarnings("ignore", category=FutureWarning)  # torch calls functions of its own under their old names
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"  # whatever the machine is called: all processes are here
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    try:
        found = work(*arguments)
        (Path(folder) / f"{rank}.json").write_text(json.dumps(found), encoding="utf-8")
        dist.barrier()
    except BaseException:
        (Path(folder) / f"{rank}.error").write_text(traceback.format_exc(), encoding="utf-8")
        raise
    finally:
        dist.destroy_process_group()


def sent_by_all(work: Callable[[], object]) -> int | None:
    """Bytes that all processes of this machine send each other while every one of them does its `work`.

    From the counters of the loopback device: what other programs send over it counts too. None where there are none.
    """
    dist.barrier()
    before = _loopback_bytes()
    dist.barrier()  # nobody begins before all have looked
    work()
    dist.barrier()
    after = _loopback_bytes()
    dist.barrier()
    return None if before is None or after is None else after - before


def _loopback_bytes() -> int | None:
    if not COUNTERS.exists():
        return None
    lines = [line.split(":") for line in COUNTERS.read_text(encoding="ascii").splitlines() if ":" in line]
    return next((int(counts.split()[8]) for name, counts in lines if name.strip() == "lo"), None)
