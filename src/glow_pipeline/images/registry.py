"""Every source by the name that a user types after `dataset=`."""

from glow_pipeline.images.bundled import DIGITS, TEXTURES
from glow_pipeline.images.source import Source
from glow_pipeline.images.torchvision_sets import FASHIONMNIST, MNIST

SOURCES: dict[str, Source] = {source.name: source for source in (DIGITS, TEXTURES, MNIST, FASHIONMNIST)}
