"""Samples by epoch, kept beside a training's checkpoints."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import written_whole
from glow_pipeline.flow import Glow
from glow_pipeline.images.transfer import HostCopy
from glow_pipeline.plots.filmstrip import ROWS, evenly_spread
from glow_pipeline.plots.grids import cross_out
from glow_pipeline.training.epoch_samples import EpochSamples
from glow_pipeline.training.history import Metrics

KEPT = 8  # of the samples that are drawn
FOLDER = "samples"
NAME = re.compile(r"epoch_(\d+)\.safetensors")
MOST_WAITING = 8  # epochs in memory
TEMPERATURE = "temperature"

logger = logging.getLogger(__name__)


class KeptSamples:
    """Keeps samples of a training in files, one an epoch: a reporter, and what each checkpoint waits for.

    The images are copied to the host while the device computes, and written before the next checkpoint. So a training
    that resumes from a checkpoint has the samples of all epochs before it, however it was stopped.

    Args:
        training_folder: the folder of the training's checkpoints.
        drawn: draws the samples.
    """

    def __init__(self, training_folder: Path, drawn: EpochSamples) -> None:
        self._folder, self._drawn = training_folder / FOLDER, drawn
        self._waiting: list[tuple[int, HostCopy]] = []
        for incomplete in self._folder.glob(".*"):  # of a process that was killed while it wrote
            incomplete.unlink(missing_ok=True)

    def epoch(self, _metrics: Metrics, _step: int) -> bool:
        return False

    def samples(self, flow: Glow, epoch: int) -> None:
        self._waiting.append((epoch, self._drawn.of(flow, epoch)))
        if len(self._waiting) >= MOST_WAITING:
            self.write()

    def write(self) -> None:
        """Write the samples that wait in memory.

        Raises:
            OSError, GlowPipelineError: they cannot be written.
        """
        while self._waiting:
            epoch, copies = self._waiting[0]
            images, broken = (tensor[:KEPT] for tensor in copies.get())
            with written_whole(self._folder / f"epoch_{epoch:06d}.safetensors") as temporary:
                save_file(
                    {"images": images.contiguous(), "broken": broken.contiguous()},
                    temporary,
                    metadata={TEMPERATURE: repr(self._drawn.temperature)},
                )
            del self._waiting[0]


def read_kept_samples(training_folder: Path, n_epochs: int, temperature: float) -> dict[int, Tensor]:
    """Return samples by epoch, uint8 (8, 3, H, W) with 8 bits; images that overflowed are crossed out.

    They are of up to ROWS epochs, evenly spread, with the first and the last that was kept.

    Args:
        training_folder: the folder of the training's checkpoints.
        n_epochs: epochs of the training; later ones are of an earlier, longer training in the same folder.
        temperature: those of another one, before the training was resumed, are left out with a warning.

    Raises:
        GlowPipelineError: a file is damaged.
    """
    paths, others = {}, 0
    for path in (training_folder / FOLDER).glob("epoch_*"):
        name = NAME.fullmatch(path.name)
        if name is None or int(name[1]) > n_epochs:
            continue
        with _opened(path) as file:
            if file.metadata()[TEMPERATURE] == repr(temperature):
                paths[int(name[1])] = path
            else:
                others += 1
    if others:
        logger.warning(
            "sample.temperature=%s: samples of %d epochs were kept at another temperature, and are not shown.",
            *(temperature, others),
        )
    return {epoch: _read(paths[epoch]) for epoch in evenly_spread(sorted(paths), ROWS)}


def _read(path: Path) -> Tensor:
    with _opened(path) as file:
        return cross_out(file.get_tensor("images"), file.get_tensor("broken"))


@contextmanager
def _opened(path: Path) -> Iterator[safe_open]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, KeyError, TypeError, OSError) as damaged:
        raise GlowPipelineError(
            f"{path}: samples that cannot be read ({damaged}); delete the file and type the same command again"
        ) from None
