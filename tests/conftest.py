"""What all tests share."""

import signal

import pytest

# A shell that starts the tests in the background has Ctrl-C ignored, and processes started here would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked `slow` run only where `-m` asks for them."""
    if not config.option.markexpr:
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="takes minutes; run it with `pytest -m slow`"))


@pytest.fixture(autouse=True)
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers of tests are on this machine, where foxgan does not go by itself."""
    monkeypatch.setenv("FOXGAN_ALLOW_PRIVATE", "1")
