import os
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glow_pipeline.images.sources.names import Names, printable

# A file name is bytes on Linux, and any but these two.
file_names = st.binary(max_size=40).map(lambda name: os.fsdecode(name.replace(b"\0", b"").replace(b"/", b"")))


@given(st.lists(file_names, max_size=30))
def test_names_are_returned_unchanged(given_names: list[str]) -> None:
    names = Names(given_names)
    assert len(names) == len(given_names)
    assert [names[i] for i in range(len(names))] == given_names
    copy = pickle.loads(pickle.dumps(names))
    copy.append("one more")
    assert [copy[i] for i in range(len(copy))] == [*given_names, "one more"]
    assert len(names) == len(given_names)


def test_absent_index_of_names_is_an_error() -> None:
    assert len(Names()) == 0
    for names, index in ((Names(), 0), (Names(["a", ""]), 2)):
        with pytest.raises(IndexError):
            names[index]


@given(st.binary(max_size=40))
def test_any_name_is_printable_on_one_line(name: bytes) -> None:
    shown = printable(os.fsdecode(name))
    shown.encode("utf-8")
    assert len(f"<{shown}>".splitlines()) == 1
    assert not any(ord(c) < 32 or ord(c) == 127 for c in shown)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"cat (2).jpg", "cat (2).jpg"),
        ("Kätzchen 猫.jpg".encode(), "Kätzchen 猫.jpg"),
        (b"K\xe4tzchen.jpg", r"K\xe4tzchen.jpg"),
        (b"two\nlines.jpg", r"two\nlines.jpg"),
        (b"\x1b[31mred", r"\x1b[31mred"),
        ("\u202egpj.exe".encode(), r"\u202egpj.exe"),  # would be shown back to front
        (b"", ""),
    ],
)
def test_printable_names_stay_unchanged(name: bytes, shown: str) -> None:
    assert printable(os.fsdecode(name)) == shown
