import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator

import pytest

from glow_pipeline.startup import without_gc


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


class Cycle:
    """Garbage, once its name is gone, that only a search finds."""

    def __init__(self) -> None:
        self.itself = self


def test_within_the_block_nobody_looks_for_garbage() -> None:
    with without_gc():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_what_is_there_at_the_end_of_the_block_is_never_looked_at_again_and_what_comes_later_is() -> None:
    with without_gc():
        early = Cycle()
    late = Cycle()
    early_lives, late_lives = weakref.ref(early), weakref.ref(late)
    del early, late
    gc.collect()
    assert early_lives() is not None
    assert late_lives() is None


def test_after_an_error_and_within_another_such_block_it_is_as_before() -> None:
    with pytest.raises(ImportError), without_gc():
        raise ImportError
    assert gc.isenabled()
    with without_gc():
        with without_gc():
            pass
        assert not gc.isenabled()


def test_it_decorates_a_function() -> None:
    assert [without_gc()(gc.isenabled)() for _ in range(2)] == [False, False]
    assert gc.isenabled()


def test_when_python_ends_nothing_is_kept_alive() -> None:
    program = """
from glow_pipeline.startup import without_gc
class Cycle:
    def __init__(self): self.itself = self
    def __del__(self): print("gone")
with without_gc():
    cycle = Cycle()
"""
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "gone\n"
    )
