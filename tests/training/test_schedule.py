import pytest
import torch

from glow_pipeline.training.schedule import warmup_schedule


@pytest.mark.parametrize(
    ("warmup_steps", "expected"),
    [
        (4, [0.025, 0.05, 0.075, 0.1, 0.1, 0.1]),
        (2.5, [0.04, 0.08, 0.1, 0.1]),
        (1, [0.1, 0.1, 0.1]),
        (0, [0.1, 0.1, 0.1]),
        (0.3, [0.1, 0.1, 0.1]),
    ],
)
def test_learning_rate_rises_linearly_and_stays(warmup_steps: float, expected: list[float]) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = warmup_schedule(optimizer, warmup_steps)
    rates = []
    for _ in expected:
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx(expected)
