"""The fakes, for their own tests."""

from tests.fakes.fixture import fakes as fakes
