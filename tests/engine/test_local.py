import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from foxgan.engine import Failure, LocalEngine
from foxgan.errors import DataError, StageError


def square(number: int) -> int:
    return number * number


def slow_first(number: int) -> int:
    time.sleep(0.3 if number == 0 else 0)
    return number


def deadly(number: int) -> int:
    if number in (3, 4):
        os._exit(7)
    return number


def deadly_once(folder: str, number: int) -> int:
    mark = Path(folder, "dead")
    if number == 2 and not mark.exists():
        mark.touch()
        os._exit(7)
    return number


def picky(number: int) -> int:
    if number == 2:
        from foxgan.decoding import ImageError

        raise ImageError("not a picture", "broken")
    return number


class Adder:
    """Notes in a folder that it was built."""

    def __init__(self, folder: str, plus: int) -> None:
        self.plus = plus
        Path(folder, f"built-{os.getpid()}-{time.monotonic_ns()}").touch()

    def __call__(self, number: int) -> int:
        return number + self.plus


class Unbuildable:
    def __init__(self) -> None:
        raise StageError("no weights; train some")

    def __call__(self, number: int) -> int:
        return number


def run(function: Any, items: Any, workers: int | None, args: tuple[Any, ...] = ()) -> list[Any]:
    return list(LocalEngine().map(function, items, workers=workers, args=args))


@pytest.mark.parametrize("workers", [0, 2])
def test_results_come_in_order(workers: int) -> None:
    assert run(slow_first, range(8), workers) == list(range(8))


def test_a_handful_of_items_needs_no_processes() -> None:
    assert run(os.getpid, [], None) == []
    pids = list(LocalEngine().map(lambda _: os.getpid(), [1, 2], workers=None))
    assert pids == [os.getpid()] * 2


@pytest.mark.parametrize(("workers", "built"), [(0, 1), (2, 2)])
def test_a_class_is_built_once_per_worker(tmp_path: Path, workers: int, built: int) -> None:
    assert run(Adder, range(12), workers, (str(tmp_path), 5)) == list(range(5, 17))
    assert 1 <= len(list(tmp_path.iterdir())) <= built


def test_an_item_that_kills_its_worker_twice_is_a_failure_and_the_others_survive() -> None:
    results = run(deadly, range(9), 2)
    assert [i for i, r in enumerate(results) if isinstance(r, Failure)] == [3, 4]
    assert [r for r in results if not isinstance(r, Failure)] == [0, 1, 2, 5, 6, 7, 8]


def test_an_item_that_kills_its_worker_once_gets_a_result(tmp_path: Path) -> None:
    assert run(deadly_once, range(5), 2, (str(tmp_path),)) == list(range(5))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_exception_of_the_function_is_raised_as_it_is(workers: int) -> None:
    results = LocalEngine().map(picky, range(6), workers=workers)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(DataError, match="not a picture") as caught:
        next(results)
    assert caught.value.reason == "broken"  # type: ignore[attr-defined]


@pytest.mark.parametrize("workers", [0, 1])
def test_an_exception_while_the_class_is_built_is_raised_as_it_is(workers: int) -> None:
    with pytest.raises(StageError, match="no weights; train some"):
        run(Unbuildable, range(3), workers)


class Counted(list[int]):
    """Counts how many items have been taken."""

    taken = 0

    def __iter__(self) -> Any:
        for item in super().__iter__():
            self.taken += 1
            yield item


def test_only_a_bounded_number_of_items_is_in_flight() -> None:
    items = Counted(range(100))
    results = LocalEngine().map(square, items, workers=1)
    assert next(results) == 0
    time.sleep(0.3)
    assert items.taken <= 3
    assert [next(results) for _ in range(9)] == [square(i) for i in range(1, 10)]
    assert items.taken <= 12
    results.close()  # type: ignore[attr-defined]


def noted(folder: str, number: int) -> int:
    time.sleep(0.05)
    Path(folder, str(number)).touch()
    return number


def test_nothing_writes_any_more_when_the_engine_is_closed(tmp_path: Path) -> None:
    engine = LocalEngine()
    results = engine.map(noted, range(100), workers=2, args=(str(tmp_path),))
    assert next(results) == 0
    engine.close()
    written = len(list(tmp_path.iterdir()))
    assert written < 20
    time.sleep(0.3)
    assert len(list(tmp_path.iterdir())) == written


def test_a_script_without_a_main_guard_is_told_what_to_do(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(
        "import os\nfrom foxgan.engine import LocalEngine\nprint(list(LocalEngine().map(abs, range(9), workers=2)))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert 'call foxgan below `if __name__ == "__main__":`' in done.stderr.splitlines()[-1]
    assert done.stdout == ""
