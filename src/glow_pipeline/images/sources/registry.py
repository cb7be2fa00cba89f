"""All sources by the name that a user types after `dataset=`. Adding one: docs/extending.md."""

from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.bundled import DIGITS, TEXTURES
from glow_pipeline.images.sources.celeba import CELEBA
from glow_pipeline.images.sources.cifar import CIFAR10, CIFAR100
from glow_pipeline.images.sources.dtd import DTD
from glow_pipeline.images.sources.folder import folder_source
from glow_pipeline.images.sources.folder_listing import FolderLooks
from glow_pipeline.images.sources.idx import FASHIONMNIST, MNIST
from glow_pipeline.images.sources.imagenet import IMAGENET
from glow_pipeline.images.sources.medmnist import MEDMNIST
from glow_pipeline.images.sources.places365 import PLACES365
from glow_pipeline.images.sources.source import Source
from glow_pipeline.images.sources.svhn import SVHN
from glow_pipeline.images.sources.tiny_imagenet import TINYIMAGENET

FOLDER = folder_source(ImageSelection(source="folder"))
SHARDS = folder_source(ImageSelection(source="shards"))

SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        DIGITS,
        TEXTURES,
        MNIST,
        FASHIONMNIST,
        CIFAR10,
        CIFAR100,
        SVHN,
        TINYIMAGENET,
        *MEDMNIST,
        DTD,
        PLACES365,
        IMAGENET,
        CELEBA,
        FOLDER,
        SHARDS,
    )
}


def source_of(image_selection: ImageSelection, looks: FolderLooks | None = None) -> Source:
    """Return the source of these images; `looks` are those at folders that the command has had."""
    return folder_source(image_selection, looks) if image_selection.is_folder else SOURCES[image_selection.source]
