"""The port of a server."""

import socket

import pytest

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.local_server import check_port


def test_port_in_use_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        taken.listen()
        with pytest.raises(GlowPipelineError, match=rf"^port {port}: Address already in use; choose another one: "):
            check_port(port, "serve")
    check_port(port, "serve")
