import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from glow_pipeline.training.safetensors_file import DTYPES, write_safetensors

TENSORS = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda name: name != "__metadata__"),
    st.tuples(st.sampled_from(list(DTYPES)), st.lists(st.integers(0, 3), max_size=3)).map(
        lambda kind: torch.arange(100)[: int(torch.tensor([*kind[1], 1]).prod())].reshape(kind[1]).to(kind[0])
    ),
    max_size=5,
)


@given(tensors=TENSORS, record=st.text(st.characters(exclude_categories=["Cs"])))
def test_file_is_that_of_the_library(
    tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, torch.Tensor], record: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "some.safetensors"
    write_safetensors(path, tensors, {"record": record})
    assert path.read_bytes() == save(tensors, metadata={"record": record})
