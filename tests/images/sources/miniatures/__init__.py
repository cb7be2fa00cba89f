"""Miniatures of all sources, one file a source: a module's `MINIATURES` maps names of sources to functions."""

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules

from tests.images.sources.contract import Miniature

MINIATURES: dict[str, Callable[[], Miniature]] = {}
for module in iter_modules(__path__):
    MINIATURES |= import_module(f"{__name__}.{module.name}").MINIATURES
