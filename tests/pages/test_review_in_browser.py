"""The page as a person uses it, in a real browser."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from foxgan.dataset.decisions import read_decisions
from foxgan.pipeline.telling.reviewing import review
from tests.pages.browser import CHROMIUM, Browser, browser
from tests.pages.conftest import row

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture
def opened(shared: Browser, artifact: Path) -> Iterator[Browser]:
    """The page of the artifact, freshly opened; its console is to stay empty. Items come as 5 4 3 2 1 0."""
    (path,) = review(artifact)
    shared.open(path)
    shared.value("localStorage.clear()")
    shared.open(path)
    yield shared
    assert shared.complaints() == []
    assert all(url.startswith("file:") for url in shared.asked_for())


def decided(page: Browser) -> dict[str, str]:
    found = page.value("Object.fromEntries([...decisions].map(([id, value]) => [id.slice(-1), value.decision]))")
    assert isinstance(found, dict)
    return found


def saved(page: Browser) -> Path:
    for old in page.downloads.glob("*"):
        old.unlink()
    page.press("s")
    return page.downloaded("decisions.json")


def test_keys_throw_out_keep_undo_and_move(opened: Browser) -> None:
    opened.press("ArrowRight", "ArrowRight", "x", " ", "j", "Delete", "k", "k")
    assert decided(opened) == {"3": "drop", "2": "keep", "0": "drop"}
    assert opened.value("order[cursor].id") == "item 0002"
    opened.press("u")
    assert decided(opened) == {"3": "drop", "2": "keep"}
    opened.press("Home", "ArrowRight", "ArrowRight", "c")
    assert decided(opened) == {"2": "keep"}
    opened.press("u", "u", "u", "u")
    assert decided(opened) == {}
    assert "Nothing to undo" in opened.value("find('told').textContent")


def test_what_the_machine_dropped_can_be_brought_back_if_there_is_a_picture_of_it(opened: Browser) -> None:
    opened.press("Enter")
    assert decided(opened) == {} and "cannot be brought back" in opened.value("find('told').textContent")
    assert opened.value("order[cursor].id") == "item 0004"
    opened.press("Enter")
    assert decided(opened) == {"4": "keep"}
    assert opened.value("find('counts').textContent").startswith("5 will be used0 thrown out1 brought back")


def test_f_goes_through_the_filters(opened: Browser) -> None:
    opened.press("End", "x")
    shown = []
    for _ in range(4):
        opened.press("f")
        shown.append(opened.value("order.map((item) => item.id.slice(-1)).join('')"))
    assert shown == ["321", "0", "54", "543210"]


def test_shift_chooses_several(opened: Browser) -> None:
    opened.press("ArrowRight", "ArrowRight")
    opened.press("ArrowRight", "ArrowRight", shift=True)
    opened.press("x")
    assert decided(opened) == {"3": "drop", "2": "drop", "1": "drop"}
    opened.press("u")
    assert decided(opened) == {}


def test_a_click_changes_what_becomes_of_a_picture_and_with_shift_of_a_range(opened: Browser) -> None:
    opened.click("#cell-3")
    assert decided(opened) == {"3": "drop"}
    opened.click("#cell-1", shift=True)
    assert decided(opened) == {"3": "drop", "2": "drop", "1": "drop"}
    opened.click("#cell-2")
    opened.click("#cell-4")
    assert decided(opened) == {"3": "drop", "1": "drop", "4": "keep"}


def test_a_double_click_opens_a_picture_and_decides_nothing(opened: Browser) -> None:
    opened.click("#cell-2", times=2)
    assert decided(opened) == {}
    assert opened.value("document.body.className") == "zoomed" and opened.value("order[cursor].id") == "item 0002"
    opened.wait_for("look.querySelector('.frame img').src.endsWith('/pictures/2.png')")  # the file itself
    opened.press("x", "Escape")
    assert decided(opened) == {"2": "drop"} and opened.value("document.body.className") == ""


def test_a_moved_page_shows_the_small_picture_instead(opened: Browser, artifact: Path, tmp_path: Path) -> None:
    (path,) = review(artifact)
    (tmp_path / "mailed").mkdir()
    moved = path.rename(tmp_path / "mailed" / "page.html")
    opened.open(moved)
    opened.press("End")
    opened.wait_for("look.querySelector('.frame img').naturalWidth > 0")
    assert opened.value("look.querySelector('.frame img').src").startswith("data:image/")
    opened.events.clear()  # the browser tells of the files that are not there


def test_decisions_survive_a_reload_and_the_saved_file_is_what_the_pipeline_reads(
    opened: Browser, artifact: Path
) -> None:
    opened.press("End", "x", "Home", "ArrowRight", " ")
    opened.open(artifact.parent / "reviews" / "crop-0123.html")
    assert decided(opened) == {"0": "drop", "4": "keep"}
    opened.press("End", "n")
    opened.command("Input.insertText", text="two <b>foxes</b>")
    opened.press("Enter")
    path = saved(opened)
    assert read_decisions(path) == {"item 0000": "drop", "item 0004": "keep"}
    file = json.loads(path.read_text())
    assert file["artifact"] == {"stage": "crop", "digest": "digest of crop-0123"}
    assert file["decisions"]["item 0000"]["note"] == "two <b>foxes</b>"
    assert path.read_text() == saved(opened).read_text()


def test_load_merges_a_file_and_the_newer_decision_wins(opened: Browser, tmp_path: Path) -> None:
    opened.press("End", "x")
    given = {
        "item 0000": {"decision": "keep", "time": "2020-01-01T00:00:00.000Z"},
        "item 0001": {"decision": "drop"},
        "of another page": {"decision": "drop"},
    }
    (tmp_path / "earlier.json").write_text(json.dumps({"foxgan_decisions": 1, "decisions": given}))
    (tmp_path / "other.json").write_text(json.dumps({"foxgan_decisions": 9}))
    root = opened.command("DOM.getDocument")["root"]["nodeId"]
    picker = opened.command("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
    opened.command("DOM.setFileInputFiles", nodeId=picker, files=[str(tmp_path / "earlier.json")])
    opened.wait_for(
        "find('told').textContent.includes('3 decisions, 2 of them new, 1 over items that are not on this page')"
    )
    assert read_decisions(saved(opened)) == {"item 0000": "drop", "item 0001": "drop", "of another page": "drop"}
    opened.command("DOM.setFileInputFiles", nodeId=picker, files=[str(tmp_path / "other.json")])
    opened.wait_for("find('told').textContent.includes('other.json: it is not a file of decisions')")


def test_help_opens_and_closes_by_key(opened: Browser) -> None:
    opened.press("?")
    assert opened.value("help.open") is True
    opened.press("x", "?")
    assert opened.value("help.open") is False and decided(opened) == {}
    opened.press("?")
    opened.click("#help form button")
    assert opened.value("help.open") is False


def test_pictures_far_away_are_not_loaded(shared: Browser, make: Callable[..., Path]) -> None:
    (path,) = review(make("many", lambda folder: [row(folder, number) for number in range(400)]))
    shared.open(path)
    loaded = "board.querySelectorAll('img[src]').length"
    assert 10 < shared.wait_for(loaded) < 200
    shared.press("End")
    shared.wait_for("cells.get(order[399]).firstElementChild.hasAttribute('src')")
    shared.wait_for("!cells.get(order[0]).firstElementChild.hasAttribute('src')")
    assert shared.value(loaded) < 200 and shared.complaints() == []
