"""The order of real images, labels, mirror and subset; and that what is read ahead never changes anything."""

import threading

import numpy as np
import pytest
import torch

from foxgan.errors import DataError
from foxgan.gan.sampler import Feed, Sampler, grid_positions


class Numbers:
    """Images of one pixel row whose left half holds their number."""

    height, width, channels, num_classes, fingerprint = 2, 4, 1, 3, "numbers"

    def __init__(self, count: int) -> None:
        self.labels = np.arange(count, dtype=np.int64) % 3
        self.data = torch.zeros(count, 1, 2, 4, dtype=torch.uint8)
        self.data[..., :2] = torch.arange(count)[:, None, None, None]

    def __len__(self) -> int:
        return len(self.data)

    def images(self, indices):
        return self.data[torch.as_tensor(np.asarray(indices))]


class Damaged(Numbers):
    """The last one cannot be read."""

    def images(self, indices):
        if len(self) - 1 in np.asarray(indices):
            raise DataError("data.mdb: picture 9 is damaged")
        return super().images(indices)


class Together(Numbers):
    """Reading waits until `count` batches are being read."""

    def __init__(self, count: int) -> None:
        super().__init__(10)
        self.barrier = threading.Barrier(count, timeout=20)

    def images(self, indices):
        self.barrier.wait()
        return super().images(indices)


@pytest.fixture
def feeds():
    """Makes feeds and closes their threads."""
    made = []

    def make(images: int | Numbers = 10, **options) -> Feed:
        made.append(Feed(Numbers(images) if isinstance(images, int) else images, 4, **options))
        return made[-1]

    yield make
    for feed in made:
        feed.close()


def numbers(img: torch.Tensor) -> list[int]:
    return ((img.amax(dim=(1, 2, 3)) + 1) * 127.5).round().int().tolist()


def test_order_is_that_of_the_windowed_shuffle():
    """Against the rule written out: after each image, it trades places with one of the previous half."""
    random = np.random.RandomState(3)
    order = np.arange(9)
    random.shuffle(order)
    expected = []
    for step in range(40):
        i = step % 9
        expected.append(order[i])
        j = (i - random.randint(4)) % 9  # rint(4.5) is 4
        order[i], order[j] = order[j], order[i]
    sampler = Sampler(9, seed=3)
    assert [*sampler.draw(15), *sampler.draw(25)] == expected


def test_all_images_are_shown_about_equally_often():
    drawn = Sampler(100, seed=0).draw(1000)
    assert np.bincount(drawn).min() >= 5


def test_images_come_with_their_labels_in_minus_one_to_one(feeds):
    img, c = feeds(c_dim=3).next()
    assert img.shape == (4, 1, 2, 4) and img.dtype == torch.float32
    assert img.min() == -1
    assert c.argmax(dim=1).tolist() == [n % 3 for n in numbers(img)]


def test_mirror_shows_every_image_in_both_directions(feeds):
    feed = feeds(6, mirror=True)
    seen = {
        (number, bool(img[0, 0, 0] > -1))
        for _ in range(12)
        for batch in [feed.next()[0]]
        for img, number in zip(batch, numbers(batch), strict=True)
    }
    assert {(number, left) for number in range(1, 6) for left in (False, True)} <= seen


def test_mirror_doubles_the_set_and_its_second_half_is_flipped(feeds):
    plain, mirrored = feeds(5, seed=2), feeds(5, seed=2, mirror=True)
    assert (len(plain.sampler.order), len(mirrored.sampler.order)) == (5, 10)
    drawn = Sampler(10, seed=2).draw(20)
    for indices in drawn.reshape(-1, 4):
        img, _ = mirrored.next()
        assert numbers(img) == (indices % 5).tolist()
        there = [bool(i[0, 0, -1] > -1) for i in img]  # the right half is bright where it is flipped
        assert there == [i >= 5 and i % 5 > 0 for i in indices]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gets_its_batches_from_pinned_memory(feeds):
    on_cpu, on_gpu = feeds(c_dim=3, mirror=True), feeds(c_dim=3, mirror=True, device=torch.device("cuda"))
    for _ in range(5):
        for expected, found in zip(on_cpu.next(), on_gpu.next(), strict=True):
            assert torch.equal(expected, found.cpu())
        assert all(part.is_pinned() for part in on_gpu.pending[0][1].result())


def test_a_subset_is_chosen_first_then_mirrored_and_keeps_its_labels(feeds):
    feed = feeds(10, subset=4, seed=5, mirror=True, c_dim=3)
    order = np.arange(10)
    np.random.RandomState(5).shuffle(order)
    assert feed.chosen.tolist() == sorted(order[:4].tolist())
    assert len(feed.sampler.order) == 8
    for _ in range(4):
        img, c = feed.next()
        assert c.argmax(dim=1).tolist() == [n % 3 for n in numbers(img)]


def test_a_subset_as_large_as_the_set_is_the_set(feeds):
    assert feeds(10, subset=10, seed=5).chosen.tolist() == list(range(10))


def test_subset_is_drawn_by_the_seed_and_nothing_else_is_shown(feeds):
    feed = feeds(10, subset=4, seed=5)
    order = np.arange(10)
    np.random.RandomState(5).shuffle(order)
    shown = {number for _ in range(6) for number in numbers(feed.next()[0])}
    assert shown == set(order[:4].tolist())


@pytest.mark.parametrize("workers", [1, 3])
def test_a_restored_feed_goes_on_where_the_saved_one_stood(feeds, workers):
    straight, saved, restored = feeds(c_dim=3), feeds(c_dim=3, workers=workers), feeds(c_dim=3)
    for feed in (straight, saved):
        for _ in range(5):
            feed.next()
    state = saved.state()
    restored.next()
    restored.load_state(state)
    for _ in range(6):
        for expected, found in zip(straight.next(), restored.next(), strict=True):
            assert torch.equal(expected, found)


@pytest.mark.parametrize("workers", [2, 9])
def test_any_number_of_threads_shows_the_same_and_hands_over_to_any_other(feeds, workers):
    one, many, other = feeds(mirror=True), feeds(mirror=True, workers=workers), feeds(mirror=True, workers=4)
    for _ in range(5):
        assert torch.equal(one.next()[0], many.next()[0])
    other.load_state(many.state())
    for _ in range(12):
        assert torch.equal(one.next()[0], other.next()[0])


@pytest.mark.parametrize("workers", [1, 3, 6])
def test_every_thread_has_a_batch_to_read_while_the_networks_work(feeds, workers):
    feed = feeds(Together(workers), workers=workers)
    shapes = [feed.next()[0].shape for _ in range(3 * workers)]  # a batch is there once all threads read at a time
    feed.images.barrier.abort()  # what is read ahead waits for more
    assert set(shapes) == {(4, 1, 2, 4)}


def test_what_a_thread_cannot_read_is_told_by_the_step_that_needs_it(feeds):
    feed = feeds(Damaged(10))
    with pytest.raises(DataError, match="picture 9 is damaged"):
        for _ in range(4):
            feed.next()


def test_rows_of_a_grid_keep_to_one_class(feeds):
    feed = feeds(30, c_dim=3)
    positions = grid_positions(feed, rows=4, columns=5, seed=0).reshape(4, 5)
    classes = feed.images.labels[positions]
    assert (classes == classes[:, :1]).all()
    assert classes[:, 0].tolist() == [0, 1, 2, 0]


def test_a_grid_larger_than_the_set_repeats_images(feeds):
    assert sorted(set(grid_positions(feeds(3), rows=2, columns=4, seed=0).tolist())) == [0, 1, 2]
