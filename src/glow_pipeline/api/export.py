"""Export of the scoring pass: a program of torch or of ONNX, which runs without this package."""

import io
import json
import warnings
from collections.abc import Callable
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import written_whole
from glow_pipeline.flow import Glow
from glow_pipeline.flow.fast.execution import Execution
from glow_pipeline.training.model_file import TrainedGlow

RECORD = "record.json"  # of a .pt2, among its extra files; of an .onnx, the key among its metadata
EXAMPLE = 2  # images by which the program is traced; sizes 0 and 1 would be taken for constants
ONNX_PACKAGES = ("onnx", "onnxscript")


class ScoringPass(nn.Module):
    """log p(x) of images with given noise, as `Glow.log_prob`."""

    def __init__(self, flow: Glow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, images: Tensor, noise: Tensor) -> Tensor:
        return self.flow.log_prob(images, noise)


def export(trained: TrainedGlow, path: Path) -> Path:
    """Write the scoring pass of a model completely or not at all, by the ending of the path, and return the path.

    Raises:
        GlowPipelineError: another ending, packages are missing, or the file cannot be written.
    """
    writers: dict[str, Callable[[TrainedGlow], bytes]] = {".pt2": _as_pt2, ".onnx": _as_onnx}
    if path.suffix not in writers:
        raise GlowPipelineError(f"path={path}: give a name that ends with {' or '.join(writers)}")
    if not path.parent.is_dir():
        raise GlowPipelineError(f"path={path}: there is no folder {path.parent}; make it, or give another")
    content = writers[path.suffix](trained)
    with written_whole(path) as temporary:
        temporary.write_bytes(content)
    return path


def scoring_program(flow: Glow) -> torch.export.ExportedProgram:
    """Return the scoring pass as a graph of torch's own operations, for any number of images.

    It has the folded parameters of the fast path as constants, and with them the bits of a score on a CPU.
    """
    copy = deepcopy(flow).cpu().eval().requires_grad_(False)
    if copy.execution is not None:
        copy.execution = Execution(kernels=False)  # kernels are no operations of torch
    shape = (EXAMPLE, *flow.image_shape)
    example = (torch.zeros(shape, dtype=torch.uint8), torch.full(shape, 0.5))
    n = torch.export.Dim("n", min=1)
    with torch.no_grad(), copy.unchanging():
        return torch.export.export(
            ScoringPass(copy), example, dynamic_shapes={"images": {0: n}, "noise": {0: n}}, strict=False
        )


def _as_pt2(trained: TrainedGlow) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():  # about views of one tensor, of which it stores the whole
        warnings.filterwarnings("ignore", message="No complete tensor found in the group")
        torch.export.save(scoring_program(trained.flow), file, extra_files={RECORD: _record(trained)})
    return file.getvalue()


def _as_onnx(trained: TrainedGlow) -> bytes:
    missing = [name for name in ONNX_PACKAGES if find_spec(name) is None]
    if missing:
        raise GlowPipelineError(
            f"export to .onnx: {' and '.join(missing)} not installed; pip install {' '.join(missing)}, or export to "
            f".pt2"
        )
    program = torch.onnx.export(scoring_program(trained.flow), dynamo=True, verbose=False, output_names=["log_prob"])
    if program is None:
        raise GlowPipelineError("export to .onnx: torch.onnx returned no program; export to .pt2")
    program.model.metadata_props[RECORD] = _record(trained)
    content: bytes = program.model_proto.SerializeToString()
    return content


def _record(trained: TrainedGlow) -> str:
    return json.dumps(trained.record.model_dump(mode="json"))
