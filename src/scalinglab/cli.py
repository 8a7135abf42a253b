"""The command line: one subcommand a stage (what dvc.yaml runs), and the tools around a study.

Imports are made where they are needed: `scalinglab use` must not wait for torch.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence

from scalinglab import config, pipeline, receipts
from scalinglab.errors import UserError

INTERRUPTED = 130  # as a shell reports it
STAGES = (
    "download", "clean", "tokenizer", "encode", "tune", "rates", "init", "trunk", "anneal", "evaluate", "forecast",
    "shots", "table", "recipe", "ladder", "laws", "multiverse", "emergence", "figures", "report",
)  # fmt: skip
THEORY_STAGES = ("variant", "verdict", "part", "measure")  # beside the study: declared in studies/dvc.yaml
OPTIONS = {
    "tune": ("size",),
    "init": ("size",),
    "trunk": ("size", "after", "to"),
    "anneal": ("size", "budget"),
    "evaluate": ("size", "budget", "after"),
    "shots": ("size", "budget"),
    "recipe": ("seed", "recipe", "size"),
    "ladder": ("seed",),
    "figures": ("figure",),
    "variant": ("theory", "variant"),
    "verdict": ("theory",),
    "part": ("theory", "part"),
    "measure": ("theory",),
}
TOOLS = {
    "use": "make a preset the current study: shows what changes and what it costs",
    "cost": "FLOPs, hours and disk of the current study, stage by stage, before running it",
    "compare": "how this machine's results differ from the published ones, in units of seed noise",
    "sync": "bring MLflow up to date with results/",
    "ui": "open the MLflow UI on 127.0.0.1",
    "skills": "the skills that mixture.skills may name, with their knobs",
    "plan": "the optimal size, tokens and loss for a compute budget, with intervals, from a study or any CSV",
    "replicate": "refit published scaling-law tables with the code that fits our own",
    "harness": "score a cell's skills with lm-evaluation-harness, beside our own scorer",
    "restore": "bring back from the DVC cache what it holds of the current study",
    "commit": "record finished stages in the DVC cache",
    "theory": "the questions of studies/; with a name and --quick, a small form of one in a few minutes",
    "verify": "read every recorded result again, here and in the DVC cache, and remove damaged ones",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; a user's mistake is one line on stderr and exit status 2."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.command in (*STAGES, *THEORY_STAGES):
            _run_stage(arguments)
        else:
            tool = importlib.import_module(f"scalinglab.tools.{arguments.command}")
            return int(tool.run(arguments) or 0)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


def _run_stage(arguments: argparse.Namespace) -> None:
    options = {name: getattr(arguments, name) for name in OPTIONS.get(arguments.command, ())}
    with receipts.written(arguments.command, options) as params:
        stage = importlib.import_module(f"scalinglab.stages.{arguments.command}")
        if arguments.command in THEORY_STAGES:
            stage.run(params, **options)
        else:
            stage.run(config.parse(pipeline.study_params(params)), **options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scalinglab", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in (*STAGES, *THEORY_STAGES):
        stage = commands.add_parser(name, help=f"stage {name}, as dvc.yaml runs it")
        for option in OPTIONS.get(name, ()):
            stage.add_argument(f"--{option}", required=True)
    for name, text in TOOLS.items():
        tool = commands.add_parser(name, help=text, description=text)
        _add_tool_options(tool, name)
    return parser


def _add_tool_options(tool: argparse.ArgumentParser, name: str) -> None:
    if name == "use":
        tool.add_argument("preset", help="a name in presets/, or a path to a YAML file")
    if name == "sync":
        tool.add_argument("--watch", type=float, metavar="SECONDS", help="repeat until the parent process ends")
        tool.add_argument("--theory", action="append", default=[], help="a question whose progress is to be told of")
    if name == "ui":
        tool.add_argument("--port", type=int, default=5000)
    if name == "plan":
        _add_plan_options(tool)
    if name == "replicate":
        tool.add_argument("--csv", help="Epoch AI's Chinchilla points; fetched by their checksum where not given")
        tool.add_argument("--resamples", type=int, default=4000)
    if name == "harness":
        tool.add_argument("--size", required=True, help="of the cell, such as d64")
        tool.add_argument("--budget", required=True, help="of the cell, such as 1600k")
        tool.add_argument("--k", type=int, action="append", help="examples in the context; default: all of shots.ks")
        tool.add_argument("--documents", type=int, default=128, help="held-out documents a task")
        tool.add_argument("--folder", help="where the task files go; default: .scratch/<study>/harness")
    if name == "theory":
        tool.add_argument("name", nargs="?", help="of a question in studies/; all are listed where not given")
        tool.add_argument("--quick", action="store_true", help="fewer tokens and seeds, the study's own rate")
        tool.add_argument("--cores", type=int, default=2, help="variants or parts at once; default: 2")
    if name == "compare":
        tool.add_argument("--against", default="HEAD", help="git revision that holds the published results")


def _add_plan_options(tool: argparse.ArgumentParser) -> None:
    tool.add_argument("--flops", type=float, help="compute of the run to plan")
    tool.add_argument("--gpus", type=float, help="instead of --flops, with --hours: how many GPUs")
    tool.add_argument("--hours", type=float)
    tool.add_argument("--peak", type=float, default=989e12, help="FLOP/s of one GPU (an H100 in bf16)")
    tool.add_argument("--utilisation", type=float, default=0.4, help="share of the peak that training reaches")
    tool.add_argument("--csv", help="points of another source; the current study's cells where not given")
    tool.add_argument("--column", action="append", default=[], metavar="ROLE=NAME", help="N, D, C or loss of the CSV")
    tool.add_argument("--unit", choices=["nats", "bits"], default="nats", help="of the CSV's losses, a token")
    tool.add_argument("--drop-highest", type=int, default=0, metavar="K", help="leave out the K highest losses")
    tool.add_argument(
        "--next-flops",
        type=float,
        help="most FLOPs of the suggested next run; default: the planned ones, or the largest in the data if less",
    )
    tool.add_argument("--resamples", type=int, default=500)
