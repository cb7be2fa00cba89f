"""Images that a model draws: decoding, the interface and the registry of sampling modes, and one file a mode."""

from glow_pipeline.sampling.attribute import check_attribute
from glow_pipeline.sampling.decoding import draw, sampling_threads
from glow_pipeline.sampling.mode import SampleRequest, SamplingMode
from glow_pipeline.sampling.real_images import LabelledImages, RealImages, TrainingImages
from glow_pipeline.sampling.registry import MODES

__all__ = [
    "MODES",
    "LabelledImages",
    "RealImages",
    "SampleRequest",
    "SamplingMode",
    "TrainingImages",
    "check_attribute",
    "draw",
    "sampling_threads",
]
