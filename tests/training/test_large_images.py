"""One step of the largest Glow of the paper's kind, on 256x256 images: minutes, and gigabytes."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

GIB = 2**30
STEP = """
import resource, torch
from glow_pipeline.flow import Glow
from glow_pipeline.flow.fast.execution import Execution
from glow_pipeline.training.adamax import Adamax
from glow_pipeline.training.step import TrainingStep

images = torch.randint(0, 256, (4, 3, 256, 256), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
model = Glow((3, 256, 256), K=32, L=6, hidden_channels=512, generator=torch.Generator().manual_seed(0))
model.to(memory_format=torch.channels_last)
x, logdet = model.dequantization.dequantize(images, torch.Generator().manual_seed(1))
model.initialize(x[:1])
model.execution = Execution("reversible")
step = TrainingStep(model, Adamax(model.parameters(), lr=1e-4), 0.0, 1)
print(sum(p.numel() for p in model.parameters()), step(x, logdet).item())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def test_four_images_of_256x256_train_in_16_gib() -> None:
    done = subprocess.run([sys.executable, "-c", STEP], capture_output=True, text=True, check=True, timeout=1800)
    numbers = done.stdout.split()
    print(f"{int(numbers[0]):,} parameters, {float(numbers[1]):.2f} bits/dim, {int(numbers[2]) / GIB:.1f} GiB")  # noqa: T201
    assert 0 < float(numbers[1]) < 20  # NaN would be a skipped step
    assert int(numbers[2]) < 16 * GIB
