"""The command line: one subcommand a stage (what dvc.yaml runs), and the tools around a study.

Imports are made where they are needed: `scalinglab use` must not wait for torch.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence

from scalinglab import config, receipts
from scalinglab.errors import UserError

STAGES = (
    "download", "clean", "tokenizer", "encode", "init", "trunk", "anneal", "evaluate", "shots", "table", "laws",
    "emergence", "figures", "report",
)  # fmt: skip
OPTIONS = {
    "init": ("size",),
    "trunk": ("size", "after", "to"),
    "anneal": ("size", "budget"),
    "evaluate": ("size", "budget"),
    "shots": ("size", "budget"),
    "figures": ("figure",),
}
TOOLS = {
    "use": "make a preset the current study: shows what changes and what it costs",
    "cost": "FLOPs, hours and disk of the current study, stage by stage, before running it",
    "compare": "how this machine's results differ from the published ones, in units of seed noise",
    "sync": "bring MLflow up to date with results/",
    "ui": "open the MLflow UI on 127.0.0.1",
    "restore": "bring back from the DVC cache what it holds of the current study",
    "commit": "record finished stages in the DVC cache",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; a user's mistake is one line on stderr and exit status 2."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.command in STAGES:
            _run_stage(arguments)
        else:
            tool = importlib.import_module(f"scalinglab.tools.{arguments.command}")
            return int(tool.run(arguments) or 0)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _run_stage(arguments: argparse.Namespace) -> None:
    options = {name: getattr(arguments, name) for name in OPTIONS.get(arguments.command, ())}
    with receipts.written(arguments.command, options) as params:
        stage = importlib.import_module(f"scalinglab.stages.{arguments.command}")
        stage.run(config.parse(params), **options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scalinglab", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in STAGES:
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
    if name == "ui":
        tool.add_argument("--port", type=int, default=5000)
    if name == "compare":
        tool.add_argument("--against", default="HEAD", help="git revision that holds the published results")
