"""The Glow model (Kingma & Dhariwal 2018, arXiv:1807.03039): torch only, one concept per file.

Every layer maps `forward(x) -> (y, logdet)` and `inverse(y) -> x`; logdet has shape (B,), in nats.
"""

from glow_pipeline.flow.dequantization import Dequantization
from glow_pipeline.flow.glow import Glow

__all__ = ["Dequantization", "Glow"]
