"""Addresses of storages."""

import pytest

from glow_pipeline.remote_storage import has_scheme


@pytest.mark.parametrize("place", ["s3://bucket/name", "FILE:///folder", "mlflow-artifacts:/1", "dbfs:/glow"])
def test_address_has_a_scheme(place: str) -> None:
    assert has_scheme(place)


@pytest.mark.parametrize("place", ["folder", "/folder/a:b", "C:\\folder", "c:/folder", "./s3:name", ""])
def test_path_has_no_scheme(place: str) -> None:
    assert not has_scheme(place)
