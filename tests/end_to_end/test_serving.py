"""`kedro serve` and real requests over HTTP."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from glow_pipeline.outliers.detector_file import read_detector
from glow_pipeline.training.model_file import read_model
from glow_pipeline.verdict import Judge
from tests.conftest import random_images
from tests.processes import comes
from tests.project import free_port, kedro, versions
from tests.serving.helpers import png

ZEROS = [[0] * 8] * 8


def answers(port: int) -> bool:
    try:
        return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=2).status == 200)
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def server(project: Path) -> Iterator[int]:
    """Run `kedro serve` within the block, and yield its port."""
    port = free_port()
    typed = [sys.executable, "-m", "kedro", "serve", "--params", "dataset=digits", "--port", str(port)]
    with (project / "served.log").open("wb") as log:
        process = subprocess.Popen(typed, cwd=project, stdout=log, stderr=log, start_new_session=True)
    try:
        assert comes(lambda: answers(port) or process.poll() is not None, 120), (project / "served.log").read_text()
        assert process.poll() is None, (project / "served.log").read_text()
        yield port
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def post(port: int, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Return status and content of the answer to a request."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/invocations", json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


@pytest.mark.slow
def test_served_verdicts_are_those_of_the_judge(digits_project: Path) -> None:
    (model,) = versions(digits_project, "06_models/digits/glow_model.safetensors/*/*.safetensors")
    (detector,) = versions(digits_project, "06_models/digits/glow_detector.safetensors/*/*")
    judge = Judge(read_model(model), read_detector(detector), torch.device("cpu"), ("nll",))
    images = random_images(64)
    (judged,) = judge.judged([images >> 4])
    scores, files = judged.scores[judge.main.column], [png(image) for image in images]
    with server(digits_project) as port:
        for batch in (1, 64):
            order = np.random.default_rng(batch).permutation(64)
            served: list[dict[str, Any]] = []
            for rows in order.reshape(-1, batch):
                status, answer = post(port, {"inputs": [files[i] for i in rows]})
                assert status == 200
                served += answer["predictions"]
            np.testing.assert_allclose([verdict["score"] for verdict in served], scores[order], rtol=1e-6)
            np.testing.assert_allclose([verdict["p_value"] for verdict in served], judged.p_values[order], atol=1e-12)
            assert [verdict["reason"] for verdict in served] == [judged.reasons[i] for i in order]
        status, answer = post(port, {"inputs": [ZEROS], "params": {"false_alarm_rate": 0.5}})
        assert (status, answer["predictions"][0]["false_alarm_rate"]) == (200, 0.5)
        for inputs, start in (
            ([ZEROS, "no base64!"], "inputs[1]: not base64"),
            ([ZEROS[:7]], "inputs[0]: shape (7, 8); expected a file"),
            ([[[float("nan")] * 8] * 8], "inputs[0]: values that are not finite"),
            ([ZEROS] * 257, "inputs: 257 images; expected 1 to 256"),
        ):
            status, answer = post(port, {"inputs": inputs})
            assert (status, answer["message"][: len(start)]) == (400, start)
        status, answer = post(port, {"inputs": [ZEROS], "params": {"false_alarm_rate": 0.001}})
        assert status == 400
        assert answer["message"].startswith("params: false_alarm_rate=0.001: expected 0.0132 (1 / 76, as there are 75")
        refused = kedro(digits_project, "serve", "--params", "dataset=digits", "--port", str(port))
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
        assert f"port {port}: Address already in use; choose another one" in refused.stderr
