"""`scalinglab ui`: sync, then serve the MLflow UI on 127.0.0.1 only."""

import argparse
import os
import sys

from scalinglab import pipeline, tracking


def run(arguments: argparse.Namespace) -> None:
    tracking.sync(pipeline.read_params())
    command = [
        sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", tracking.STORE,
        "--host", "127.0.0.1", "--port", str(arguments.port),
    ]  # fmt: skip
    print(f"MLflow UI: http://127.0.0.1:{arguments.port}", flush=True)
    os.execv(sys.executable, command)
