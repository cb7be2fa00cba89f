"""From a trained model to pictures."""

from pathlib import Path

from matplotlib.figure import Figure

from glow_pipeline.device import use_device
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.classes import position
from glow_pipeline.images.examples import draw_examples
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.table_writer import plan_table
from glow_pipeline.memory import memory_in_one_line
from glow_pipeline.parameters import Parameters, SampleParameters, TrainParameters
from glow_pipeline.plots.movie import Movie
from glow_pipeline.randomness import generator
from glow_pipeline.sampling import MODES, Endpoints, SampleRequest, sampling_threads
from glow_pipeline.training.model_file import TrainedGlow
from glow_pipeline.training.unseen import check_known, check_same_images


def draw_endpoints(
    glow_model: TrainedGlow,
    image_selection: ImageSelection,
    image_format: ImageFormat,
    raw_folder: Path,
    parameters: Parameters,
) -> Endpoints:
    """Draw the test images that some modes start from; other modes need none, and none is read."""
    sample, ingest, seed = parameters.sample, parameters.ingest, parameters.seed
    if not MODES[sample.mode].needs_endpoints:
        return Endpoints.none(image_format.shape)
    plan = plan_table(
        image_selection, "test", image_format, raw_folder, ingest.on_unreadable, ingest.num_workers, ingest.max_pixels
    )
    check_same_images(glow_model.record, plan.origin, chosen=parameters.stored_model is not None)
    check_known(plan.origin, glow_model.trained_on)
    num_classes = glow_model.flow.num_classes if glow_model.flow.y_condition else None
    images, labels = draw_examples(
        plan.images(),
        max(2, sample.n // 2 * 2),
        generator(seed, "pairs"),
        seen=glow_model.trained_on,
        num_classes=num_classes,
    )
    if len(images) < 2:
        of_classes = "" if num_classes is None else f" of the model's classes 0 to {num_classes - 1}"
        raise GlowPipelineError(
            f"sample.mode={sample.mode}: {image_selection.key} has {len(images)} test images{of_classes} that the "
            f"model was not trained on, and a path needs two; give more images, or choose another mode"
        )
    return Endpoints.pairs(images, labels)


def sample_images(
    glow_model: TrainedGlow,
    endpoints: Endpoints,
    sample: SampleParameters,
    train: TrainParameters,
    seed: int,
    device: str,
) -> Figure | Movie:
    """Return the picture of `sample.mode`."""
    flow = glow_model.flow.to(use_device(device))
    class_names = glow_model.record.train_table.class_names
    request = SampleRequest(
        flow,
        glow_model.record.dataset,
        class_names,
        n=sample.n,
        temperature=sample.temperature,
        y=None if sample.y is None else position(sample.y, class_names),
        frames=sample.frames,
        seed=seed,
        endpoints=endpoints,
    )
    mode = MODES[sample.mode]
    with (
        memory_in_one_line(f"sample.n={sample.n}", f"lower it, or sample.frames={sample.frames}"),
        sampling_threads(flow, sample.n, mode.pictures(request), train.threads),
    ):
        return mode.draw(request)
