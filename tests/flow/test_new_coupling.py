"""Couplings that are not in the package: one of plain layers, and one of a transform that the fast path takes."""

import math
from dataclasses import dataclass
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.flow import Glow
from glow_pipeline.flow.coupling import (
    COUPLINGS,
    AdditiveCoupling,
    AffineCoupling,
    Coupling,
    FoldableCoupling,
    ZeroConv,
    is_foldable,
)
from glow_pipeline.flow.fast.execution import Activations, Execution
from glow_pipeline.flow.fast.folding.prepared import prepare
from glow_pipeline.flow.step import FlowStep
from glow_pipeline.parameters import parse_parameters
from tests.flow.helpers import (
    assert_inverts,
    assert_logdet_is_the_jacobians,
    concatenated,
    gaussian,
    perturbed,
    random_images,
    seeded,
    small_glow,
)


class ExpCoupling(Coupling):
    """y2 = x2 * exp(tanh(s(x1))) + t(x1), by one convolution: a network of its own, without a folded form."""

    def __init__(
        self,
        channels: int,
        hidden_channels: int,
        *,
        actnorm_scale: float = 1.0,
        scale_floor: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.kept = channels // 2
        self.network = ZeroConv(self.kept, 2 * (channels - self.kept))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x1, x2 = x[:, : self.kept], x[:, self.kept :]
        s, t = self.network(x1).chunk(2, dim=1)
        return torch.cat([x1, x2 * s.tanh().exp() + t], dim=1), s.tanh().flatten(1).sum(dim=1)

    def inverse(self, y: Tensor) -> Tensor:
        y1, y2 = y[:, : self.kept], y[:, self.kept :]
        s, t = self.network(y1).chunk(2, dim=1)
        return torch.cat([y1, (y2 - t) * (-s.tanh()).exp()], dim=1)


@dataclass(frozen=True)
class ExpScale:
    """y2 = x2 * exp(tanh(s)), a transform with its gradients."""

    outputs_per_channel = 1

    def forward_(self, x2: Tensor, predicted: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        log_scale = predicted.tanh()
        x2 *= log_scale.exp()
        return log_scale.sum(dim=(1, 2, 3)), (log_scale,)

    def inverse(self, y2: Tensor, predicted: Tensor) -> Tensor:
        return y2 * (-predicted.tanh()).exp()

    def saved(self, predicted: Tensor) -> tuple[Tensor, ...]:
        return (predicted.tanh(),)

    def backward(
        self, grad_y2: Tensor, grad_logdet: Tensor, y2: Tensor, saved: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        (log_scale,) = saved
        grad_log_scale = grad_y2 * y2 + grad_logdet[:, None, None, None]
        return grad_y2 * log_scale.exp(), grad_log_scale * (1 - log_scale**2)

    def log_scale(self, saved: tuple[Tensor, ...]) -> Tensor:
        return saved[0]


class FoldableExpCoupling(FoldableCoupling):
    """A folded form from outside the package."""

    def __init__(
        self,
        channels: int,
        hidden_channels: int,
        *,
        actnorm_scale: float = 1.0,
        scale_floor: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(ExpScale(), channels, hidden_channels, actnorm_scale, generator)


class DoublingCoupling(AffineCoupling):
    """An affine coupling whose forward and inverse were edited."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, logdet = super().forward(2 * x)
        return y, logdet + x[0].numel() * math.log(2)

    def inverse(self, y: Tensor) -> Tensor:
        return super().inverse(y) / 2


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (ExpCoupling, FoldableExpCoupling, DoublingCoupling):
        monkeypatch.setitem(COUPLINGS, kind.__name__, kind)


every_new_coupling = pytest.mark.parametrize("name", ["ExpCoupling", "FoldableExpCoupling", "DoublingCoupling"])


def glow(name: str, **options: Any) -> Glow:
    return small_glow((3, 8, 8), flow_coupling=name, **options)


@every_new_coupling
def test_new_coupling_trains_and_inverts(name: str) -> None:
    model = glow(name)
    untrained = {key: tensor.clone() for key, tensor in model.state_dict().items() if "coupling" in key}
    images, noise = random_images(model, 16)
    images[:, :, ::2] = images[:, :, 1::2]  # rows in pairs, which is to be learned
    x, _ = model.dequantization.forward(images, noise.float())
    model.initialize(x)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = model.bits_per_dim(model.log_prob(images, noise.float())).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.05
    assert all(not torch.equal(model.state_dict()[key], before) for key, before in untrained.items())
    with torch.no_grad():
        back = model.inverse(model(x)[0])
    torch.testing.assert_close(back, x, rtol=0, atol=1e-5)


@every_new_coupling
def test_new_coupling_logdet_is_the_jacobians(name: str) -> None:
    coupling = COUPLINGS[name](4, 6, actnorm_scale=1.0, scale_floor=0.0, generator=seeded())
    assert_logdet_is_the_jacobians(perturbed(coupling), gaussian(2, 4, 2, 4))
    assert_inverts(coupling, gaussian(2, 4, 2, 4), 1e-10)
    model = perturbed(small_glow((1, 4, 4), flow_coupling=name), 0.1)

    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        eps, logdet = model(x)
        return concatenated(eps), logdet

    assert_logdet_is_the_jacobians(forward, gaussian(2, 1, 4, 4))


@pytest.mark.parametrize(
    ("name", "foldable"),
    [
        ("affine", True),
        ("additive", True),
        ("FoldableExpCoupling", True),
        ("ExpCoupling", False),
        ("DoublingCoupling", False),
    ],
)
def test_fast_path_is_chosen_by_class(name: str, foldable: bool) -> None:
    model = glow(name)
    assert is_foldable(COUPLINGS[name]) == foldable
    assert model.foldable == foldable
    assert model.execution == (Execution() if foldable else None)


@pytest.mark.parametrize("activations", get_args(Activations))
def test_new_transform_has_gradients_of_plain_layers(activations: Activations) -> None:
    model, x = perturbed(glow("FoldableExpCoupling"), 0.1), gaussian(4, 3, 8, 8)
    gradients = []
    for execution in (None, Execution(activations)):
        model.execution = execution
        model.zero_grad()
        model.log_density(model.to_top(x)).sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-9, atol=1e-9)


@every_new_coupling
def test_new_coupling_is_traced(name: str) -> None:
    model, x = perturbed(glow(name), 0.1), gaussian(4, 3, 8, 8)
    with torch.no_grad():
        plain, (top, levels) = model.to_top(x), model.traced(x)
    assert torch.equal(top.logdet, plain.logdet)
    difference = levels[-1].logdet - levels[-1].log_scale.sum(dim=(1, 2))
    torch.testing.assert_close(difference, difference[:1].expand(4))


def test_edited_forward_is_what_trains() -> None:
    edited, plain = glow("DoublingCoupling"), glow("affine")
    edited.load_state_dict(plain.state_dict())
    x = gaussian(2, 3, 8, 8, dtype=torch.float32)
    torch.testing.assert_close(edited(x)[0][0], plain(4 * x)[0][0])  # fresh couplings are linear, two before the split
    with edited.unchanging(), torch.no_grad():
        torch.testing.assert_close(edited(x)[0][0], plain(4 * x)[0][0])


def test_folding_refuses_a_coupling_without_folded_form() -> None:
    with pytest.raises(ValueError, match=r"^ExpCoupling has no folded form: compute the flow with execution=None$"):
        prepare([FlowStep(4, 6, flow_coupling="ExpCoupling")])


@every_new_coupling
def test_parameter_choices_follow_the_registry(name: str) -> None:
    assert parse_parameters({"model": {"flow_coupling": name}}).model.flow_coupling == name


@pytest.mark.parametrize(
    ("train", "error"),
    [
        ({"activations": "reversible"}, "train.activations=reversible: .* set train.activations=stored"),
        ({"activations": "checkpointed"}, "train.activations=checkpointed: "),
        ({"precision": "bfloat16"}, "train.precision=bfloat16: .* set train.precision=auto"),
        ({"compile": True}, "train.compile=True: .* set train.compile=auto"),
    ],
)
def test_plain_layers_refuse_options_of_fast_path(train: dict[str, Any], error: str) -> None:
    parse_parameters({"model": {"flow_coupling": "additive"}, "train": train})
    plain = {"model": {"flow_coupling": "ExpCoupling"}}
    with pytest.raises(GlowPipelineError, match=f"^{error}") as raised:
        parse_parameters({**plain, "train": train})
    assert "\n" not in str(raised.value)
    parse_parameters(plain)


def test_additive_coupling_refuses_a_floor() -> None:
    with pytest.raises(ValueError, match=r"^scale_floor=0\.1: an additive coupling has no scale"):
        AdditiveCoupling(4, 6, scale_floor=0.1)


def test_base_class_needs_forward_and_inverse() -> None:
    empty, x = Coupling(), gaussian(1, 4, 2, 2)
    assert isinstance(empty, nn.Module)
    for method in (empty.forward, empty.inverse):
        with pytest.raises(NotImplementedError):
            method(x)
