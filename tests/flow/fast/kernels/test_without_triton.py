"""A machine without Triton."""

import subprocess
import sys


def test_flow_on_a_cpu_needs_no_triton() -> None:
    """Modules that need it are imported where they are used."""
    code = (
        "import sys; sys.modules['triton'] = None; import torch; from glow_pipeline.flow import Glow;"
        "model = Glow((1, 4, 4), 1, 1, 4); x = torch.zeros(1, 1, 4, 4); model.to_top(x).logdet.sum().backward();"
        "torch.set_grad_enabled(False); model.inverse(model(x)[0]); model.traced(x)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
