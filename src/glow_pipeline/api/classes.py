"""Classes of a class-conditioned model as a person gives them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.classes import choose
from glow_pipeline.training.model_file import TrainedGlow

Classes = int | str | np.integer | Sequence[int | str] | NDArray[Any] | Tensor


def classes_of(trained: TrainedGlow, y: Classes | None, n: int) -> Tensor | None:
    """Return the classes of n images, int64 (n,), on the CPU; None if the flow has no classes.

    Args:
        trained: the model.
        y: a class by number or name, for all images; or one for each, also as an array; None: the classes in turn.
        n: number of images.

    Raises:
        GlowPipelineError: the flow has no classes or no such class, or there are more or fewer than n.
    """
    flow = trained.flow
    if not flow.y_condition:
        if y is not None:
            raise GlowPipelineError(f"y={y}: this model has no classes; leave it out, or train with model.y_condition")
        return None
    if y is None:
        return torch.arange(n) % flow.num_classes
    given = y.tolist() if isinstance(y, np.generic | np.ndarray | Tensor) else y
    each = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given] * n
    if len(each) != n:
        raise GlowPipelineError(f"y: {len(each)} classes for {n} images; give one, or one for each image")
    numbers = {key: _number(trained, one) for key, one in {repr(one): one for one in each}.items()}
    return torch.tensor([numbers[repr(one)] for one in each])


def _number(trained: TrainedGlow, y: object) -> int:
    """Return the number of a class, as `sample.y` chooses it."""
    if isinstance(y, bool) or not isinstance(y, int | str | np.integer | np.str_):
        raise GlowPipelineError(f"y={y!r}: a {type(y).__name__} is no class; give its number or its name")
    names, num_classes = trained.record.train_table.class_names, trained.flow.num_classes
    if any(names):
        try:
            number, *others = choose((str(y),), names)
        except GlowPipelineError as unknown:
            raise GlowPipelineError(f"y={y}: {unknown}") from None
        if others:
            raise GlowPipelineError(f"y={y}: {len(others) + 1} classes; give one, or one for each image")
    else:
        number = int(y) if str(y).isdecimal() else -1
    if not 0 <= number < num_classes:
        raise GlowPipelineError(f"y={y}: no such class; the model has 0 to {num_classes - 1}")
    return number
