"""The two parameters that give the size of a batch."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.parameters import flattened, parse_parameters, with_complete_batches
from glow_pipeline.parameters.batch_size import COMPLETE, PER_DEVICE, one_batch_size
from glow_pipeline.shard import Shard

SIZES = st.none() | st.integers(1, 1000)
Layer = dict[str, int | None]


def layer(complete: int | None, per_device: int | None) -> Layer:
    return {name: size for name, size in ((COMPLETE, complete), (PER_DEVICE, per_device)) if size is not None}


@given(per_device=st.integers(1, 10_000), processes=st.integers(1, 1000))
def test_batches_give_each_process_its_size(per_device: int, processes: int) -> None:
    parsed = parse_parameters({"train": {"batch_size_per_device": per_device}})
    before = flattened(parsed.model_dump())
    complete = with_complete_batches(parsed, processes)
    size = complete.train.batch_size
    assert size == per_device * processes
    for rank in {0, processes // 2, processes - 1}:
        rows = Shard(rank, processes).rows(size)
        assert rows.stop - rows.start == per_device
    assert with_complete_batches(complete, processes) == complete
    assert parse_parameters(complete.model_dump()) == complete
    changed = {name for name, value in flattened(complete.model_dump()).items() if value != before.get(name)}
    assert changed <= {COMPLETE}


def test_batch_size_counts_without_one_per_device() -> None:
    parsed = parse_parameters({"train": {"batch_size": 60}})
    assert with_complete_batches(parsed, 7) is parsed


@given(layers=st.lists(st.tuples(SIZES, SIZES), max_size=4), base=st.tuples(st.integers(1, 1000), SIZES))
def test_batch_size_given_last_counts(
    layers: list[tuple[int | None, int | None]], base: tuple[int, int | None]
) -> None:
    above = [layer(*sizes) for sizes in layers]
    merged: dict[str, Any] = {COMPLETE: base[0], PER_DEVICE: base[1]}
    for values in reversed(above):
        merged |= values
    raw = {"seed": 1, "train": {"batch_size": merged[COMPLETE], "batch_size_per_device": merged[PER_DEVICE], "lr": 1.0}}
    newest = next((values for values in above if values), {})
    if len(newest) == 2:
        with pytest.raises(GlowPipelineError):
            one_batch_size(raw, above)
        return
    chosen = flattened(one_batch_size(raw, above))
    assert {**chosen, PER_DEVICE: None} == {**flattened(raw), PER_DEVICE: None}
    if newest:
        assert chosen[PER_DEVICE] == newest.get(PER_DEVICE)
    else:
        assert chosen[PER_DEVICE] == base[1]


def test_batch_size_given_twice_is_one_line() -> None:
    with pytest.raises(GlowPipelineError) as refused:
        one_batch_size({"train": {"batch_size": 128, "batch_size_per_device": 16}}, [{COMPLETE: 128, PER_DEVICE: 16}])
    assert str(refused.value) == (
        "train.batch_size_per_device=16: train.batch_size=128 is given beside it, and either sets the other; leave one "
        "of them out"
    )


@pytest.mark.parametrize("train", [None, 3, [1], "text"])
def test_malformed_group_is_left_to_the_parser(train: object) -> None:
    assert one_batch_size({"train": train}, []) == {"train": train}
