"""Servers on this machine alone: MLflow's UI, Kedro-Viz, verdicts."""

import socket

from glow_pipeline.errors import GlowPipelineError

HOST = "127.0.0.1"


def check_port(port: int, target: str) -> None:
    """Check that no other program uses a port of this machine.

    Args:
        port: on 127.0.0.1.
        target: of the Makefile, named in the error.

    Raises:
        GlowPipelineError: one does.
    """
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server that has just ended leaves it usable
        try:
            tried.bind((HOST, port))
        except OSError as error:
            raise GlowPipelineError(
                f"port {port}: {error.strerror}; choose another one: make {target} PORT={port + 1}"
            ) from None
