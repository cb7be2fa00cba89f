"""Train the Glow normalizing flow on images, sample from it, and find the images that do not belong."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glow_pipeline.api.load import load_model
    from glow_pipeline.verdict.load import load_detector

__version__ = "0.1.0"
__all__ = ["load_detector", "load_model"]

_MODULES = {"load_detector": "glow_pipeline.verdict.load", "load_model": "glow_pipeline.api.load"}


def __getattr__(name: str) -> Any:
    """Import what is for users at its first use, because torch takes seconds to import."""
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
