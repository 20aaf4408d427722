"""What all tests share."""

import signal
from collections.abc import Iterator

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


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What foxgan keeps for later runs is kept for those of the tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
