import pytest

from glow_pipeline.images.titles import class_title


@pytest.mark.parametrize(
    ("k", "names", "title"),
    [
        (3, [], "class 3"),
        (1, ["cats", "dogs"], "dogs"),
        (0, ["10"], "class 10"),
        (2, ["cats"], "class 2"),
        (0, [""], ""),
    ],
)
def test_class_is_called_by_name_or_number(k: int, names: list[str], title: str) -> None:
    assert class_title(k, names) == title
