"""Checks across parameters: combinations that are invalid although each value is valid."""

from collections.abc import Collection, Sequence

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.flow.coupling import COUPLINGS, is_foldable
from glow_pipeline.images.classes import numbers, positions
from glow_pipeline.images.selection import OWN
from glow_pipeline.images.sources.registry import SOURCES
from glow_pipeline.parameters.root import Parameters
from glow_pipeline.sampling import MODES, check_attribute


def check_combinations(parameters: Parameters) -> None:
    """Check each rule that involves several parameters.

    Raises:
        GlowPipelineError: one line about the first rule that is broken.
    """
    check_folders_are_given(parameters)
    check_folder_is_used(parameters)
    check_classes(parameters)
    check_sampled_attribute(parameters)
    check_parts(parameters)
    check_models(parameters)
    check_restart(parameters)
    check_flip(parameters)
    check_n_bits(parameters)
    check_levels(parameters)
    check_scale_floor(parameters)
    check_fast_path(parameters)
    check_num_classes(parameters, SOURCES[parameters.dataset].num_classes)


def check_folders_are_given(parameters: Parameters) -> None:
    """Check that `dataset=folder` and `out_dataset=folder` have a folder, or that a stored model's name is given."""
    if parameters.ingest.path is not None:
        return
    if parameters.dataset in OWN and parameters.ingest.name is None:
        raise GlowPipelineError(
            f"ingest.path=null: dataset={parameters.dataset} needs a folder of images; set ingest.path, or to use a "
            f"stored model that needs none, ingest.name"
        )
    if parameters.out_dataset in OWN and parameters.ood.out_path is None:
        raise GlowPipelineError(
            f"ood.out_path=null: out_dataset={parameters.out_dataset} needs a folder of images; set ood.out_path"
        )


def check_folder_is_used(parameters: Parameters) -> None:
    """Check that parameters of a folder come with `dataset=folder` or `out_dataset=folder`."""
    ingest, ood = parameters.ingest, parameters.ood
    inside, outside = parameters.dataset in OWN, parameters.out_dataset in OWN
    judges = parameters.score.images is not None
    either = "dataset=folder or out_dataset=folder"
    for key, value, counts_with, counts in (
        ("ingest.range", ingest.range, f"{either} or score.images", inside or outside or judges),
        ("ingest.path", ingest.path, either, inside or outside),
        ("ingest.name", ingest.name, either, inside or outside),
        ("ingest.eval_path", ingest.eval_path, "dataset=folder", inside),
        ("ood.out_path", ood.out_path, "out_dataset=folder", outside),
    ):
        if value is not None and not counts:
            raise GlowPipelineError(f"{key}={value}: counts only with {counts_with}; set that too, or {key}=null")


def check_classes(parameters: Parameters) -> None:
    """Check that published datasets have the chosen classes; a folder's classes are known once it is read."""
    for key, classes, name in (
        ("ingest.classes", parameters.ingest.classes, parameters.dataset),
        ("ood.out_classes", parameters.ood.out_classes, parameters.out_dataset),
    ):
        if classes is None or name in OWN:
            continue
        known, chosen = SOURCES[name].num_classes, numbers(classes)
        if chosen is None or max(chosen) >= known:
            typed = "+".join(map(str, classes))
            raise GlowPipelineError(
                f"{key}={typed}: {name} has the classes 0 to {known - 1}; give one, a range, or several: 3, 0-4, 0-4+7"
            )


def check_sampled_attribute(parameters: Parameters) -> None:
    """Check that `sample.attribute` is used, and tells some images of a published dataset from others."""
    sample = parameters.sample
    if not MODES[sample.mode].uses_attribute:
        if sample.attribute is not None:
            typed = "+".join(map(str, sample.attribute))
            raise GlowPipelineError(
                f"sample.attribute={typed}: counts only with sample.mode=attribute; set that too, or "
                f"sample.attribute=null"
            )
    elif parameters.dataset not in OWN:
        chosen = parameters.ingest.classes
        everything = range(SOURCES[parameters.dataset].num_classes)
        check_attribute_among(parameters, everything if chosen is None else positions(chosen, ()))


def check_attribute_among(parameters: Parameters, occurring: Collection[int], class_names: Sequence[str] = ()) -> None:
    """Check that `sample.attribute` tells some images from others.

    Args:
        parameters: all parameters of the command.
        occurring: numbers of the classes of the images; those of a folder are known once it is listed.
        class_names: names of the classes by number; empty where they have numbers only.

    Raises:
        GlowPipelineError: no image has the attribute, or every image.
    """
    attribute = parameters.sample.attribute
    try:
        chosen = None if attribute is None else positions(attribute, class_names)
    except GlowPipelineError as error:
        raise GlowPipelineError(f"sample.attribute={'+'.join(map(str, attribute or ()))}: {error}") from None
    check_attribute(chosen, occurring, parameters.image_selection.key, class_names)


def check_parts(parameters: Parameters) -> None:
    """Check that images are left to train on."""
    val, calibration = parameters.ingest.val_percentage, parameters.ingest.calibration_percentage
    if val + calibration >= 100:
        raise GlowPipelineError(
            f"ingest.calibration_percentage={calibration}: with ingest.val_percentage={val} no image is left to train "
            f"on; set them to less than 100 together"
        )


def check_models(parameters: Parameters) -> None:
    """Check that a model is named once."""
    one, other = parameters.stored_model, parameters.score.model
    if one is not None and other is not None and one != other:
        raise GlowPipelineError(f"score.model={other}: stored_model={one} names another one; leave one of them out")


def check_restart(parameters: Parameters) -> None:
    """Check that commands which share a list of files do not delete each other's scores."""
    if parameters.score.on_resume == "restart" and parameters.workers.engine == "array":
        raise GlowPipelineError(
            "score.on_resume=restart: with workers.engine=array each of the commands would delete what the others have "
            "scored; delete data/07_model_output/<model>/score_<images>/progress once, and set score.on_resume=continue"
        )


def check_flip(parameters: Parameters) -> None:
    """Check that mirror images are images of the same kind."""
    source = SOURCES[parameters.dataset]
    if parameters.train.flip and not source.mirrors:
        raise GlowPipelineError(
            f"train.flip=True: a mirror image of {source.name} ({source.title}) is none of them; set train.flip=false"
        )


def check_n_bits(parameters: Parameters) -> None:
    """Check that the source has so many bits."""
    source = SOURCES[parameters.dataset]
    if parameters.image_format.n_bits > source.n_bits:
        raise GlowPipelineError(
            f"model.n_bits={parameters.model.n_bits}: {source.name} has images of {source.n_bits} bits; "
            f"allowed are 1 to {source.n_bits}"
        )


def check_levels(parameters: Parameters) -> None:
    """Check that both sides of the images can be halved once per level."""
    height, width, levels = parameters.image_format.height, parameters.image_format.width, parameters.model.L
    deepest = min((side & -side).bit_length() - 1 for side in (height, width))
    if deepest < levels:
        lower = f"lower model.L to at most {deepest}, or " if deepest else ""
        raise GlowPipelineError(
            f"model.L={levels}: each level halves the image, and {height}x{width} "
            f"can be halved {deepest} times; {lower}set ingest.size to a multiple of {2**levels}"
        )


def check_scale_floor(parameters: Parameters) -> None:
    """Check that a floor of the scale comes with a coupling that scales."""
    model = parameters.model
    if model.flow_coupling == "additive" and model.scale_floor > 0:
        raise GlowPipelineError(
            f"model.scale_floor={model.scale_floor}: an additive coupling has no scale; "
            f"set model.scale_floor=0, or model.flow_coupling=affine"
        )


def check_fast_path(parameters: Parameters) -> None:
    """Check that the options of the fast path are not set for a flow that trains by its plain layers."""
    train, coupling = parameters.train, parameters.model.flow_coupling
    if is_foldable(COUPLINGS[coupling]):
        return
    for name, value, possible in (
        ("activations", train.activations, ["stored"]),
        ("precision", train.precision, ["auto", "float32"]),
        ("compile", train.compile, ["auto", False]),
    ):
        if value not in possible:
            raise GlowPipelineError(
                f"train.{name}={value}: the coupling {coupling} has no folded form and trains by its plain layers; "
                f"set train.{name}={possible[0]}"
            )


def check_num_classes(parameters: Parameters, num_classes: int) -> None:
    """Check that a class-conditioned model has all classes of its images.

    Args:
        parameters: all parameters of the command.
        num_classes: classes of the images; those of a folder are known once it is read.

    Raises:
        GlowPipelineError: the model has fewer classes.
    """
    model = parameters.model
    if model.y_condition and model.num_classes is not None and model.num_classes < num_classes:
        raise GlowPipelineError(
            f"model.num_classes={model.num_classes}: {parameters.dataset} has {num_classes} classes; "
            f"use at least {num_classes}, or null"
        )
