"""The pytest fixture `fakes`; a conftest.py takes it over with `from tests.fakes.fixture import fakes as fakes`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes import Fakes


@pytest.fixture
def fakes() -> Iterator[Fakes]:
    """60 photos at all services; new for every test (starting takes milliseconds)."""
    with Fakes() as server:
        yield server
