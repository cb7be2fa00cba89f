"""The check of `sample.attribute` against the classes of a folder; those of published images are known before."""

from glow_pipeline.images.classes import choose
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.folder import training_class_names
from glow_pipeline.images.sources.folder_listing import FolderLooks
from glow_pipeline.parameters import Parameters, check_attribute_among
from glow_pipeline.sampling import MODES


def check_attribute_of_folder(parameters: Parameters, image_selection: ImageSelection, looks: FolderLooks) -> None:
    """Check that the attribute tells some of a folder's training images from others, if the mode uses one.

    Raises:
        GlowPipelineError: it does not, or a class of it does not exist.
    """
    if not MODES[parameters.sample.mode].uses_attribute or not image_selection.is_folder:
        return
    names = training_class_names(image_selection, looks)
    chosen = image_selection.classes
    check_attribute_among(parameters, range(len(names)) if chosen is None else choose(chosen, names), names)
