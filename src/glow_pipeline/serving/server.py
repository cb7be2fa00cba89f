"""MLflow's scoring server on this machine, with a registered model."""

import os
import sys
from pathlib import Path
from typing import NoReturn

from glow_pipeline.local_server import HOST


def serve_model(uri: str, tracking_uri: str, port: int, workers: int) -> NoReturn:
    """Become the process of `mlflow models serve`, which runs until Ctrl-C.

    Args:
        uri: address of the model, as `models:/glow-digits/1`.
        tracking_uri: where it is registered.
        port: on 127.0.0.1.
        workers: processes, each with a model of its own.
    """
    environment = {
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "OMP_NUM_THREADS": "1",  # threads of one operation would wait for each other; requests are many
        **os.environ,
        "MLFLOW_TRACKING_URI": tracking_uri,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),  # of uvicorn
    }
    typed = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", uri, "--env-manager", "local"]
    typed += ["--host", HOST, "--port", str(port), "--workers", str(workers)]
    sys.stdout.flush()
    os.execve(sys.executable, typed, environment)
