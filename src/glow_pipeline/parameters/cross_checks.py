"""What is wrong with parameters that are each right."""

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.classes import numbers
from glow_pipeline.images.sources.registry import FOLDER, SOURCES
from glow_pipeline.parameters.root import Parameters


def check_together(parameters: Parameters) -> None:
    """What no field can know alone.

    Raises:
        GlowPipelineError: the first thing that is wrong.
    """
    image_format, model, source = parameters.image_format, parameters.model, SOURCES[parameters.dataset]
    both = (parameters.dataset, parameters.out_dataset)
    if parameters.ingest.path is None and FOLDER.name in both:
        if parameters.dataset == FOLDER.name and parameters.ingest.name is None:
            raise GlowPipelineError(
                "ingest.path=null: dataset=folder needs a folder of images; set ingest.path, or to use a stored model "
                "that needs none, ingest.name"
            )
        if parameters.out_dataset == FOLDER.name and parameters.ood.out_path is None:
            raise GlowPipelineError("ood.out_path=null: out_dataset=folder needs a folder of images; set ood.out_path")
    for key, value, said, of in (
        ("ingest.range", parameters.ingest.range, "dataset=folder or out_dataset=folder", FOLDER.name in both),
        ("ingest.path", parameters.ingest.path, "dataset=folder or out_dataset=folder", FOLDER.name in both),
        ("ingest.name", parameters.ingest.name, "dataset=folder or out_dataset=folder", FOLDER.name in both),
        ("ingest.eval_path", parameters.ingest.eval_path, "dataset=folder", parameters.dataset == FOLDER.name),
        ("ood.out_path", parameters.ood.out_path, "out_dataset=folder", parameters.out_dataset == FOLDER.name),
    ):
        if value is not None and not of:
            raise GlowPipelineError(f"{key}={value}: counts only with {said}; set that too, or {key}=null")
    for key, classes, name in (
        ("ingest.classes", parameters.ingest.classes, parameters.dataset),
        ("ood.out_classes", parameters.ood.out_classes, parameters.out_dataset),
    ):
        known = SOURCES[name].num_classes
        if classes is None or name == FOLDER.name:
            continue
        chosen = numbers(classes)
        if chosen is None or max(chosen) >= known:
            typed = "+".join(map(str, classes))
            raise GlowPipelineError(
                f"{key}={typed}: {name} has the classes 0 to {known - 1}; give one, a range, or several: 3, 0-4, 0-4+7"
            )
    if parameters.train.flip and not source.mirrors:
        raise GlowPipelineError(
            f"train.flip=True: a mirror image of {source.name} ({source.title}) is none of them; set train.flip=false"
        )
    if image_format.n_bits > source.n_bits:
        raise GlowPipelineError(
            f"model.n_bits={model.n_bits}: {source.name} has images of {source.n_bits} bits; "
            f"allowed are 1 to {source.n_bits}"
        )
    deepest = min((side & -side).bit_length() - 1 for side in (image_format.height, image_format.width))
    if deepest < model.L:
        lower = f"lower model.L to at most {deepest}, or " if deepest else ""
        raise GlowPipelineError(
            f"model.L={model.L}: each level halves the image, and {image_format.height}x{image_format.width} "
            f"can be halved {deepest} times; {lower}set ingest.size to a multiple of {2**model.L}"
        )
    if model.flow_coupling == "additive" and model.scale_floor > 0:
        raise GlowPipelineError(
            f"model.scale_floor={model.scale_floor}: an additive coupling has no scale; "
            f"set model.scale_floor=0, or model.flow_coupling=affine"
        )
    check_num_classes(parameters, source.num_classes)


def check_num_classes(parameters: Parameters, num_classes: int) -> None:
    """Check that a class-conditioned model knows all classes of its images.

    Args:
        num_classes: of the images; for a folder the caller has to look into it.

    Raises:
        GlowPipelineError: it does not.
    """
    model = parameters.model
    if model.y_condition and model.num_classes is not None and model.num_classes < num_classes:
        raise GlowPipelineError(
            f"model.num_classes={model.num_classes}: {parameters.dataset} has {num_classes} classes; "
            f"use at least {num_classes}, or null"
        )
