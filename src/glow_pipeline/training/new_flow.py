"""The flow that a training starts with."""

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.flow import Glow
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.memory import memory_in_one_line
from glow_pipeline.parameters import ModelParameters, Parameters, check_num_classes
from glow_pipeline.randomness import generator
from glow_pipeline.training.model_file import build_flow, read_model
from glow_pipeline.training.named_model import first_model


def flow_arguments(model: ModelParameters, num_classes: int) -> dict[str, object]:
    """Return the parameters that define the flow, for `Glow` and for a model's record."""
    return {**model.model_dump(exclude={"n_bits", "y_weight"}), "num_classes": num_classes}


def untrained_flow(parameters: Parameters, image_format: ImageFormat, num_classes: int) -> Glow:
    """Return a Glow for these images, with so many classes, with fresh weights or those of `train.checkpoint`.

    Raises:
        GlowPipelineError: it is class-conditioned, and does not know all of these classes.
    """
    if (start := first_model(parameters.train)) is not None:
        flow = read_model(start).flow
        if flow.y_condition:
            check_knows_classes(str(parameters.train.checkpoint), flow.num_classes, num_classes)
        return flow
    check_num_classes(parameters, num_classes)
    model = parameters.model
    arguments = flow_arguments(model, model.num_classes or num_classes)
    with memory_in_one_line(f"model.hidden_channels={model.hidden_channels}", f"lower it, or model.K={model.K}"):
        return build_flow(image_format, arguments, generator(parameters.seed, "weights"))


def check_knows_classes(checkpoint: str, known: int, num_classes: int) -> None:
    """Check that a class-conditioned `train.checkpoint` knows as many classes as the images have.

    Raises:
        GlowPipelineError: it does not.
    """
    if known < num_classes:
        raise GlowPipelineError(
            f"train.checkpoint={checkpoint}: a model of {known} classes, but the images have {num_classes}; choose "
            f"another checkpoint, or start without one: train.checkpoint=null"
        )
