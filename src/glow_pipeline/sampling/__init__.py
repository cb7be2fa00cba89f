"""Images that a model draws: decoding, the interface and the registry of sampling modes, and one file a mode."""

from glow_pipeline.sampling.decoding import draw, sampling_threads
from glow_pipeline.sampling.mode import Endpoints, SampleRequest, SamplingMode
from glow_pipeline.sampling.registry import MODES

__all__ = ["MODES", "Endpoints", "SampleRequest", "SamplingMode", "draw", "sampling_threads"]
