"""The kernels compute the flow of the plain layers. On a CPU Triton interprets them."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from glow_pipeline.flow import Glow
from glow_pipeline.flow.fast import fused
from glow_pipeline.flow.fast.execution import Execution
from tests.flow.fast.test_fused import LU, classes, glow
from tests.flow.helpers import OPTIONS, assert_close_to_scale, gaussian, perturbed, seeded, small_glow

level = pytest.importorskip("glow_pipeline.flow.fast.kernels.level", reason="no Triton", exc_type=ImportError)
without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="Triton compiles the kernels for the GPU")

USED = Execution(kernels=True)
every_coupling = pytest.mark.parametrize("options", [*OPTIONS, LU])


@pytest.fixture
def no_fused_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let only the kernels compute."""
    for name in ("run", "run_traced", "inverse"):
        monkeypatch.delattr(fused, name)


def both(model: Glow, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Latents, log-determinant and reconstruction by the kernels and by the plain layers."""
    results = []
    for execution in (USED, None):
        model.execution = execution
        with torch.no_grad():
            eps, logdet = model(x, classes(model, len(x)))
            results.append([*eps, logdet, model.inverse(eps, classes(model, len(x)))])
    return results[0], results[1]


@without_gpu
@pytest.mark.usefixtures("no_fused_form")
@every_coupling
def test_kernels_compute_the_plain_layers(options: dict[str, Any]) -> None:
    x = gaussian(3, 3, 8, 16)
    by_kernels, plain = both(glow(**options), x)
    for mine, its in zip(by_kernels, plain, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-9, atol=1e-9)
    assert_close_to_scale(by_kernels[-1], x, 1e-9)


SIDES = st.sampled_from([4, 8, 12, 20, 32])


@without_gpu
@settings(max_examples=6)
@given(
    shape=st.tuples(st.integers(1, 3), SIDES, SIDES),
    K=st.integers(1, 3),
    hidden=st.sampled_from([1, 6, 16, 40]),
    coupling=st.sampled_from([("affine", 0.0), ("affine", 0.3), ("additive", 0.0)]),
    batch=st.integers(1, 5),
)
@pytest.mark.slow
def test_all_sizes_match_the_plain_layers(
    shape: tuple[int, int, int], K: int, hidden: int, coupling: tuple[str, float], batch: int
) -> None:
    model = Glow(
        shape, K, 2, hidden, flow_coupling=coupling[0], scale_floor=coupling[1], generator=seeded()
    )  # levels of 1 to 256 pixels, of 4 to 24 channels
    by_kernels, plain = both(perturbed(model, 0.1), gaussian(batch, *shape))
    for mine, its in zip(by_kernels, plain, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-9, atol=1e-9)


@without_gpu
@pytest.mark.parametrize(("s", "floor"), [(-5.0, 0.0), (30.0, 0.0), (-30.0, 0.1), (30.0, 0.1)])
def test_extreme_scales_match_the_plain_layers(s: float, floor: float) -> None:
    model = glow(1, scale_floor=floor)
    for name, parameter in model.named_parameters():
        if name.endswith("network.conv3.conv.bias"):
            with torch.no_grad():
                parameter[len(parameter) // 2 :] += s
    by_kernels, plain = both(model, gaussian(2, 3, 8, 16))
    for mine, its in zip(by_kernels, plain, strict=True):
        assert_close_to_scale(mine, its, 1e-9)


@without_gpu
def test_traced_has_the_bits_of_the_pass() -> None:
    model, x = glow().float(), gaussian(3, 3, 8, 16).float()
    model.execution = USED
    with torch.no_grad():
        latent = model.to_top(x)
        traced, levels = model.traced(x)
        model.execution = Execution(kernels=False)
        _, expected = model.traced(x)
    assert torch.equal(traced.z, latent.z)
    assert torch.equal(traced.logdet, latent.logdet)
    for mine, its in zip(levels, expected, strict=True):
        torch.testing.assert_close(mine.log_scale, its.log_scale, rtol=1e-4, atol=1e-4)


@without_gpu
def test_kernels_leave_their_input_alone() -> None:
    model, x = glow(), gaussian(2, 12, 4, 8).contiguous(memory_format=torch.channels_last)
    before = x.clone()
    with torch.no_grad():
        prepared = fused_form(model)
        level.run(prepared, x)
        level.inverse(prepared, x)
    assert torch.equal(x, before)


def fused_form(model: Glow) -> Any:
    """The folded parameters of the first level."""
    first: Any = model.levels[0]
    first.prepare()
    return first._kept


@without_gpu
@pytest.mark.slow
def test_programs_loop_over_many_images(monkeypatch: pytest.MonkeyPatch) -> None:
    from glow_pipeline.flow.fast.kernels import forward, inverse

    model, x = glow(2), gaussian(5, 3, 8, 16)
    expected, _ = both(model, x)
    for module in (forward, inverse):
        monkeypatch.setattr(module, "MOST_PROGRAMS", 2)
    for mine, its in zip(both(model, x)[0], expected, strict=True):
        assert torch.equal(mine, its)


@without_gpu
def test_gradients_do_not_pass_through_the_kernels() -> None:
    model, x = small_glow().double(), gaussian(2, 1, 4, 8).requires_grad_()
    model.execution = USED
    model.log_density(model.to_top(x)).sum().backward()
    assert x.grad is not None


# On a GPU -------------------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@every_coupling
def test_float32_scores_on_a_gpu_are_as_exact_as_fused(options: dict[str, Any]) -> None:
    model, x = glow(**options), gaussian(37, 3, 8, 16)
    with torch.no_grad():
        exact = model.log_density(model.to_top(x), classes(model, 37))
        model, x = model.float().cuda(), x.float().cuda()
        y = classes(model, 37)
        errors = {}
        for kernels in (None, False):
            model.execution = Execution(kernels=kernels)
            score = model.log_density(model.to_top(x), None if y is None else y.cuda())
            errors[kernels] = (score.cpu().double() - exact).norm().item()
    assert errors[None] < 2 * errors[False] + 1e-6 * exact.norm().item()


@pytest.mark.gpu
def test_scores_on_a_gpu_have_the_same_bits_in_any_company() -> None:
    model = perturbed(Glow((3, 32, 32), 4, 3, 64, generator=seeded()), 0.03).float().cuda()
    x = gaussian(4096, 3, 32, 32).float().cuda()
    with torch.no_grad():
        score = model.log_density(model.to_top(x))
        assert torch.equal(model.log_density(model.to_top(x)), score)
        for i in (0, 17, 4095):
            assert torch.equal(model.to_top(x[i : i + 1]).logdet, model.to_top(x).logdet[i : i + 1])


@pytest.mark.gpu
def test_round_trip_on_a_gpu_returns_the_images() -> None:
    model = perturbed(Glow((3, 32, 32), 4, 3, 64, generator=seeded()), 0.03).float().cuda()
    x = gaussian(37, 3, 32, 32).float().cuda() / 4
    with torch.no_grad():
        assert_close_to_scale(model.inverse(model(x)[0]), x, 1e-3)
