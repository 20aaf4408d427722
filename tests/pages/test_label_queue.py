import numpy as np

from foxgan.pages.label_queue import Queue
from foxgan.vision.uncertainty import Look

NONE = np.zeros(192, np.float32)


def look(number: int) -> Look:
    found = np.zeros(192, np.float32)
    found[number] = 1
    return found


def test_work_begins_behind_what_is_labelled() -> None:
    queue = Queue(5, {3, 1})
    assert queue.order == [1, 3, 0, 2, 4] and queue.start({1, 3}) == 2
    assert queue.start({1, 3, 0}) == 3 and queue.start({3}) == 2  # what lost its labels is where it was
    assert Queue(2, {0, 1}).start({0, 1}) == 1


def test_the_least_certain_come_next_and_what_was_seen_stays_where_it_is() -> None:
    queue = Queue(6, {5})
    assert (queue.at(0), queue.at(1)) == ((0, 5), (1, 0))
    queue.rate([(n, n / 10, look(n)) for n in range(5)])
    assert queue.order == [5, 0, 4, 3, 2, 1]
    assert queue.at(2) == (2, 4)
    queue.rate([(4, 0.0, look(4)), (0, 1.0, look(0)), (1, 0.9, look(1))])
    assert queue.order[:3] == [5, 0, 4] and queue.order[3] == 1


def test_a_photo_from_far_ahead_comes_next_while_photos_move() -> None:
    queue = Queue(5, (), moving=True)
    assert queue.at(3) == (0, 3) and queue.at(0) == (0, 3)
    queue.rate([(n, n / 10, look(n)) for n in range(5)])
    assert queue.order == [3, 4, 2, 1, 0]
    assert Queue(5, ()).at(3) == (3, 3)


def test_a_photo_that_was_only_looked_for_ahead_may_still_move() -> None:
    queue = Queue(3, ())
    assert queue.peek(1) == 1 and queue.peek(3) is None
    queue.rate([(2, 1.0, look(2)), (0, 0.1, look(0))])
    assert queue.peek(0) == 2


def test_what_nobody_has_rated_counts_as_usual_and_is_asked_for_first_where_it_comes_soon() -> None:
    queue = Queue(5, ())
    queue.rate([(0, 0.1, NONE), (1, 0.9, NONE)])
    assert queue.order == [1, 2, 3, 4, 0]
    assert queue.unrated(2) == [2, 3] and queue.unrated(9) == [2, 3, 4]
    queue.at(3)
    assert queue.unrated(9) == [4, 2, 3] and queue.unrated(9, {2, 4}) == [3]


def test_photos_alike_are_kept_apart() -> None:
    queue = Queue(4, ())
    queue.rate([(0, 0.9, look(0)), (1, 0.89, look(0)), (2, 0.88, look(0)), (3, 0.6, look(3))])
    assert queue.order[:2] == [0, 3]


def test_a_great_many_photos_keep_every_photo_once() -> None:
    queue = Queue(3000, range(100))
    generator = np.random.default_rng(0)
    queue.rate([(n, float(generator.random()), look(n % 192)) for n in range(0, 3000, 2)])
    assert sorted(queue.order) == list(range(3000)) and queue.order[:100] == list(range(100))
