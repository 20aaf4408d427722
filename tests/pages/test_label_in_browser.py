"""The labelling page as a person uses it, in a real browser."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foxgan import images
from foxgan.pages.label import Labelling
from foxgan.pages.label_files import Mark
from foxgan.pages.label_photos import Hint, Photo
from foxgan.pages.label_server import LabelServer
from foxgan.vision.synthetic import draw_photo
from tests.pages.browser import CHROMIUM, Browser, browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


class Opened:
    """A session, and its page in the browser."""

    def __init__(self, page: Browser, session: Labelling) -> None:
        self.page, self.session = page, session

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a place of the photo is on the screen."""
        script = f"(() => {{ const b = canvas.getBoundingClientRect(), [x, y] = seen({x}, {y}); return [b.x + x, b.y + y]; }})()"
        left, top = self.page.value(script)
        return left, top

    def drag(self, *points: tuple[float, float]) -> None:
        self.page.drag(*(self.at(*point) for point in points))

    def saved(self, name: str) -> list[Mark] | None:
        """What is on the disk, once the page has nothing left to save."""
        self.page.wait_for("unsaved.size === 0 && !sending")
        found = self.session.labels.read(name, 400, 300)
        return found and found[0]

    def boxes(self, name: str) -> list[list[int]]:
        return [[round(v) for v in mark.box] for mark in self.saved(name) or ()]

    def goes_to(self, name: str) -> None:
        self.page.wait_for(f"photo?.name === {name!r} && picture !== null")


@pytest.fixture
def opened(shared: Browser, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Opened]:
    """Four photos of 400x300, opened at the first; its console is to stay empty, and nobody else is asked for anything."""
    options: dict[str, Any] = getattr(request, "param", {})
    for number, name in enumerate("abcd"):
        path = tmp_path / "photos" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        grey = np.full((300, 400, 3), 60 * number, np.uint8)
        images.write(path, draw_photo(3, number + 1, "fox", 400).image if options.get("model") else grey)
    points, model = options.get("points"), options.get("model")
    session = Labelling(tmp_path / "photos", None, ["fox", "wolf"], points, model)
    hints = (Hint("fox", (50, 50, 150, 150), 0.9), Hint("wolf", (200, 100, 300, 200), 0.4))
    second = session.photos[1]
    session.photos = (session.photos[0], Photo(second.name, second.path, "", hints), *session.photos[2:])
    with LabelServer(session) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        shared.open(server.address)
        page = Opened(shared, session)
        page.goes_to("a")
        yield page
        assert shared.complaints() == []
        assert all(url.startswith(server.address) for url in shared.asked_for())
        shared.value("unsaved.clear()")
        shared.open("about:blank")
        server.shutdown()
        thread.join()
    session.close()


def test_a_drag_draws_a_box_that_is_saved_at_once(opened: Opened) -> None:
    assert opened.saved("a") is None
    opened.drag((100, 50), (120, 100), (200, 150))
    assert opened.boxes("a") == [[100, 50, 200, 150]]
    assert opened.page.value("find('fate').textContent") == "Labelled: 1 head"
    assert opened.page.value("find('counts').textContent") == "1 of 4 labelled"


def test_a_box_that_is_dragged_out_of_the_photo_ends_at_its_edge(opened: Opened) -> None:
    opened.drag((350, 250), (390, 290), (500, 400))
    assert opened.boxes("a") == [[350, 250, 400, 300]]
    opened.drag((100, 100), (100.5, 100.5))  # a click is no box
    assert len(opened.boxes("a")) == 1


def test_edges_and_insides_of_the_chosen_box_are_dragged(opened: Opened) -> None:
    opened.drag((100, 50), (120, 100), (200, 150))
    opened.drag((200, 150), (230, 170), (250, 190))
    assert opened.boxes("a") == [[100, 50, 250, 190]]
    opened.drag((150, 100), (160, 100), (170, 110))
    assert opened.boxes("a") == [[120, 60, 270, 200]]
    opened.drag((120, 130), (110, 130), (100, 130))
    assert opened.boxes("a") == [[100, 60, 270, 200]]
    opened.page.press("z", "z")
    assert opened.boxes("a") == [[100, 50, 250, 190]]


def test_undo_and_redo_go_all_the_way_and_the_disk_with_them(opened: Opened) -> None:
    opened.drag((100, 50), (120, 100), (200, 150))
    opened.page.press("Escape")
    opened.drag((10, 10), (30, 30), (60, 60))
    opened.page.press("2", "x")
    assert opened.boxes("a") == [[100, 50, 200, 150]]
    opened.page.press("z")
    assert [mark.number for mark in opened.saved("a") or ()] == [0, 1]
    opened.page.press("z", ctrl=True)
    opened.page.press("z", "z")
    assert opened.saved("a") is None and opened.session.done == set()
    opened.page.press("z")
    assert "Nothing to undo" in opened.page.value("find('told').textContent")
    opened.page.press("y")
    opened.page.press("z", shift=True)
    opened.page.press("y", "y", "y")
    assert opened.boxes("a") == [[100, 50, 200, 150]]


def test_all_can_be_done_by_keys(opened: Opened) -> None:
    opened.page.press("b", "2")
    (mark,) = opened.saved("a") or ()
    assert mark.number == 1
    x0, y0, x1, y1 = mark.box
    opened.page.press("ArrowRight", "ArrowDown")
    opened.page.press("ArrowRight", shift=True)
    opened.page.press("ArrowLeft", "ArrowUp", ctrl=True)
    (mark,) = opened.saved("a") or ()
    assert np.allclose(mark.box, (x0 + 11, y0 + 1, x1 + 10, y1), atol=0.01)
    opened.page.press("Escape", "ArrowRight")
    opened.goes_to("b")
    opened.page.press("ArrowLeft")
    opened.goes_to("a")
    opened.page.press("Tab", "Delete")
    assert opened.saved("a") is None


def test_proposals_are_dashed_until_they_are_accepted(opened: Opened) -> None:
    opened.page.press("n")
    opened.goes_to("b")
    assert opened.page.value("[items.length, hints().length, labelled]") == [2, 2, False]
    assert opened.saved("b") is None
    opened.page.press("Tab", "a")
    assert opened.boxes("b") == [[50, 50, 150, 150]]
    assert opened.page.value("document.querySelectorAll('#boxes .hint').length") == 1
    opened.page.press("Enter")
    opened.goes_to("c")
    assert [(mark.number, mark.box) for mark in opened.saved("b") or ()][1] == (1, (200, 100, 300, 200))
    opened.page.press("p")
    opened.goes_to("b")
    assert opened.page.value("hints().length") == 0


def test_a_proposal_that_is_corrected_counts_and_one_that_is_deleted_does_not(opened: Opened) -> None:
    opened.page.press("n")
    opened.goes_to("b")
    opened.page.press("Tab")
    opened.drag((150, 150), (160, 160), (170, 170))
    assert opened.boxes("b") == [[50, 50, 170, 170]]
    opened.page.press("Tab", "x")
    assert opened.page.value("items.length") == 1 and len(opened.boxes("b")) == 1


def test_a_photo_without_heads_is_said_to_have_none(opened: Opened) -> None:
    opened.page.press("e")
    opened.goes_to("b")
    assert opened.saved("a") == [] and opened.session.labels.file("a").read_text() == ""
    opened.page.press("e")
    opened.goes_to("c")
    opened.page.press("p", "p")
    opened.goes_to("a")
    assert opened.page.wait_for("find('fate').textContent.includes('no heads')")
    opened.page.press("u")
    opened.goes_to("c")


def test_boxes_of_the_photo_before_are_copied(opened: Opened) -> None:
    opened.drag((100, 50), (120, 100), (200, 150))
    opened.page.press("Escape", "n")
    opened.goes_to("b")
    opened.page.press("c")
    assert opened.boxes("b") == [[100, 50, 200, 150]]


@pytest.mark.parametrize("opened", [{"points": ["left_eye", "right_eye", "nose"]}], indirect=True)
def test_points_are_clicked_one_after_the_other_moved_hidden_and_left_out(opened: Opened) -> None:
    opened.drag((100, 50), (120, 100), (200, 150))
    assert opened.page.wait_for("find('asked').textContent") == "click the left eye, as you see it · h: not there"
    opened.drag((120, 80))
    opened.page.press("h")
    opened.drag((150, 120))
    (mark,) = opened.saved("a") or ()
    assert [(round(x), round(y), v) for x, y, v in mark.points] == [(120, 80, 2), (0, 0, 0), (150, 120, 2)]
    opened.drag((120, 80), (125, 85), (130, 90))
    opened.page.press("k")  # the first one that is missing
    opened.page.press("ArrowLeft")
    opened.page.press("v")
    (mark,) = opened.saved("a") or ()
    assert [(round(x), round(y), v) for x, y, v in mark.points] == [(130, 90, 2), (149, 100, 1), (150, 120, 2)]
    opened.page.press("Escape")
    opened.drag((160, 60), (165, 65), (170, 70))  # the box goes with its points
    (mark,) = opened.saved("a") or ()
    assert [round(v) for v in mark.box] == [110, 60, 210, 160] and round(mark.points[2][0]) == 160


@pytest.mark.parametrize("opened", [{"model": "fox-heads"}], indirect=True)
def test_proposals_of_a_detector_come_while_one_looks_at_the_photo(opened: Opened) -> None:
    assert "proposals are coming" in opened.page.wait_for("find('name').textContent")
    assert opened.session.suggester is not None
    opened.session.suggester.start()
    opened.page.wait_for("items.length > 0 && items.every((item) => item.hint && item.score >= 0.2)")
    opened.page.wait_for("!find('name').textContent.includes('coming')")
    opened.page.press("Enter")
    opened.page.wait_for("photo.at === 1 && unsaved.size === 0 && !sending")
    assert len(opened.session.labels.labelled()) == 1


def test_zoom_and_pan_change_what_is_seen_and_not_where_boxes_are(opened: Opened) -> None:
    opened.page.press("+", "+")
    opened.page.drag((400, 300), (380, 280), (300, 250), button="right")
    opened.drag((150, 100), (160, 120), (200, 150))
    assert opened.boxes("a") == [[150, 100, 200, 150]]
    scale = opened.page.value("view.scale")
    opened.page.press("g")
    assert opened.page.value("view.scale") > scale
    opened.page.press("f")
    assert opened.page.value("view.scale === fitting()")


def test_changes_are_sent_again_until_the_server_has_them(opened: Opened) -> None:
    session = opened.session
    write, session.labels.write = session.labels.write, lambda *_: (_ for _ in ()).throw(OSError(28, "No space left"))  # type: ignore[method-assign]
    opened.drag((100, 50), (120, 100), (200, 150))
    opened.page.wait_for("find('saved').textContent.includes('not saved')")
    session.labels.write = write  # type: ignore[method-assign]
    opened.page.press("Escape", "n")
    opened.goes_to("b")
    opened.page.wait_for("find('saved').textContent === 'saved'")
    assert opened.boxes("a") == [[100, 50, 200, 150]]
    opened.page.events.clear()  # the browser, too, tells of the refused request


def test_a_reload_comes_back_to_the_same_photo_and_shows_what_was_saved(opened: Opened) -> None:
    opened.page.press("n")
    opened.goes_to("b")
    opened.drag((100, 250), (120, 260), (200, 290))
    assert opened.boxes("b") == [[100, 250, 200, 290]]
    opened.page.reload()
    opened.goes_to("b")
    assert opened.page.value("items.length") == 1 and opened.page.value("labelled") is True


def test_500_heads_are_drawn_and_one_of_them_is_chosen(opened: Opened) -> None:
    many = [Mark(i % 2, (i % 25 * 16.0, i // 25 * 15.0, i % 25 * 16 + 14.0, i // 25 * 15 + 13.0)) for i in range(500)]
    photo = opened.session.photos[2]
    opened.session.labels.write(photo.name, photo.path, many, 400, 300)
    opened.page.press("n", "n")
    opened.goes_to("c")
    opened.page.wait_for("document.querySelectorAll('#boxes li').length === 500")
    opened.drag((24 * 16 + 7, 19 * 15 + 6))
    assert opened.page.wait_for("chosen === 499")


def test_the_page_tells_what_it_is_to_those_who_do_not_see_it(opened: Opened) -> None:
    opened.page.press("b")
    assert opened.page.wait_for("find('said').textContent").startswith("box 1 of 1: fox, ")
    names = opened.page.value("[...document.querySelectorAll('button')].map((b) => b.textContent || b.ariaLabel)")
    assert all(names)
    assert opened.page.value(
        "[...document.querySelectorAll('input, progress')].every((e) => e.labels.length || e.ariaLabel)"
    )
    opened.page.press("?")
    assert opened.page.value("find('help').open") is True
    opened.page.press("x", "?")
    assert opened.page.value("find('help').open") is False and len(opened.boxes("a")) == 1
