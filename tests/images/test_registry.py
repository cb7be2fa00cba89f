import pytest

from glow_pipeline.images.registry import SOURCES
from glow_pipeline.images.source import Source


def test_sources_are_known_by_their_names() -> None:
    assert {"digits", "textures", "mnist", "fashionmnist"} <= set(SOURCES)
    for name, source in SOURCES.items():
        assert source.name == name
        assert name == name.lower()


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES.keys())
def test_a_source_says_what_its_images_are(source: Source) -> None:
    assert source.channels in (1, 3)
    assert 1 <= source.n_bits <= 8
    assert source.num_classes >= 2
    assert source.licence
    # The defaults of model.L=3 have to fit every source as it comes.
    assert all(side % 8 == 0 for side in source.default_size)
    assert all(side >= own for side, own in zip(source.default_size, source.size, strict=True))
