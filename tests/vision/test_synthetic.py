import cv2
import numpy as np
import pytest

from foxgan.vision.synthetic import BACKGROUNDS, COATS, SPECIES, Animal, Photo, draw_cutout, draw_photo
from foxgan.vision.synthetic_coats import choose_build, choose_coat
from foxgan.vision.synthetic_head import Head, paint_head
from foxgan.vision.synthetic_light import Light
from foxgan.vision.synthetic_shape import HeadShape, Pose

LIGHT = Light((-0.5, -0.6, 0.62), (0.7, 0.7, 0.7), (0.4, 0.4, 0.4))


@pytest.fixture(scope="module")
def photos() -> list[Photo]:
    return [draw_photo(7, index, species, size=160) for species in SPECIES for index in range(40)]


@pytest.fixture(scope="module")
def animals(photos: list[Photo]) -> list[Animal]:
    return [animal for photo in photos for animal in photo.animals]


def head(species: str = "fox", coat: str = "red", unit: float = 40, **pose: float | str) -> Head:
    rng = np.random.default_rng(3)
    chosen = Pose(**{"turn": 0.0, "tilt": 0.0, "pitch": 0.0, "mouth": "shut", "ears": "up"} | pose)  # type: ignore[arg-type]
    size = (int(5 * unit), int(5 * unit))
    centre = (2.5 * unit, 2.8 * unit)
    return paint_head(
        choose_coat(species, coat, rng), choose_build(species, coat, rng), chosen, unit, size, centre, LIGHT, rng
    )


def test_the_same_seed_and_index_draw_the_same_photo_whatever_was_drawn_before() -> None:
    first = draw_photo(1, 5, size=128)
    draw_photo(1, 4, size=128)
    again = draw_photo(1, 5, size=128)
    assert np.array_equal(first.image, again.image)
    assert first.animals == again.animals


def test_another_seed_or_index_draws_another_photo() -> None:
    images = [draw_photo(seed, index, size=64).image.tobytes() for seed in (0, 1) for index in (0, 1, 2)]
    assert len(set(images)) == len(images)


def test_photos_are_rgb_of_several_shapes_within_the_size(photos: list[Photo]) -> None:
    assert all(photo.image.dtype == np.uint8 and photo.image.shape[2] == 3 for photo in photos)
    assert all(0.74 * 160 <= max(photo.image.shape) <= 160 for photo in photos)
    ratios = {round(photo.image.shape[1] / photo.image.shape[0], 1) for photo in photos}
    assert {0.7, 0.8, 1.0, 1.3, 1.5} == ratios


def test_all_traits_occur(photos: list[Photo], animals: list[Animal]) -> None:
    assert {photo.background for photo in photos} == set(BACKGROUNDS)
    for species in SPECIES:
        assert {animal.coat for animal in animals if animal.species == species} == set(COATS[species])
    assert {animal.mouth for animal in animals} == {"open", "shut"}
    assert {animal.ears for animal in animals} == {"up", "back"}
    assert {len(photo.animals) for photo in photos} == {0, 1, 2, 3}
    assert min(animal.turn for animal in animals) < -25 and max(animal.turn for animal in animals) > 25
    assert all(abs(animal.turn) <= 50 and abs(animal.tilt) <= 25 for animal in animals)


def test_boxes_and_points_lie_inside_the_photo_and_points_inside_their_box(photos: list[Photo]) -> None:
    for photo in photos:
        height, width = photo.image.shape[:2]
        for animal in photo.animals:
            x0, y0, x1, y1 = animal.box
            assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
            for x, y in (animal.left_eye, animal.right_eye, animal.nose):
                assert x0 < x < x1 and y0 < y < y1


def test_eyes_are_named_by_their_side_and_the_nose_lies_below_them(animals: list[Animal]) -> None:
    for animal in animals:
        left, right, nose = (np.array(point) for point in (animal.left_eye, animal.right_eye, animal.nose))
        tilt = np.deg2rad(animal.tilt)
        across, down = np.array([np.cos(tilt), np.sin(tilt)]), np.array([-np.sin(tilt), np.cos(tilt)])
        assert (right - left) @ across > 0
        assert (nose - (left + right) / 2) @ down > 0.15 * (animal.box[2] - animal.box[0])
        assert abs((right - left) @ down) < 0.25 * (right - left) @ across


def test_heads_take_a_fifth_to_half_of_the_photo(photos: list[Photo]) -> None:
    shares = [max(a.box[2] - a.box[0], a.box[3] - a.box[1]) / min(p.image.shape[:2]) for p in photos for a in p.animals]
    assert 0.16 < min(shares) < 0.3
    assert 0.45 < max(shares) < 0.7


def test_nose_moves_with_the_turn_further_than_the_eyes() -> None:
    ahead, turned = head(turn=0.0), head(turn=40.0)
    middle = (turned.left_eye[0] + turned.right_eye[0] - ahead.left_eye[0] - ahead.right_eye[0]) / 2
    assert 0 < middle < turned.nose[0] - ahead.nose[0]


def test_tilt_rotates_the_line_between_the_eyes() -> None:
    for tilt in (-20.0, 15.0):
        tilted = head(tilt=tilt)
        rise = tilted.right_eye[1] - tilted.left_eye[1]
        run = tilted.right_eye[0] - tilted.left_eye[0]
        assert np.rad2deg(np.arctan2(rise, run)) == pytest.approx(tilt, abs=0.5)


@pytest.mark.parametrize("turn", [-45.0, 0.0, 30.0])
def test_box_is_tight_around_the_outlines_of_head_and_ears(turn: float) -> None:
    unit = 40.0
    rng = np.random.default_rng(3)
    choose_coat("fox", "red", rng)
    shape = HeadShape(
        choose_build("fox", "red", rng), Pose(turn, 8.0, 0.0, "shut", "up"), unit, (2.5 * unit, 2.8 * unit)
    )
    outline = np.concatenate([shape.outline(), shape.muzzle(), shape.ear(-1), shape.ear(1)])
    box = head(turn=turn, tilt=8.0, unit=unit).box
    fur = 0.2 * unit  # hair that sticks out beyond the outlines
    assert np.all(box[:2] <= outline.min(0) + 1.5) and np.all(box[:2] >= outline.min(0) - fur)
    assert np.all(box[2:] >= outline.max(0) - 1.5) and np.all(box[2:] <= outline.max(0) + fur)


def test_points_lie_on_dark_pupils_and_nose() -> None:
    drawn = head(coat="red", unit=60)
    grey = cv2.cvtColor(np.round(drawn.canvas.rgb * 255).astype(np.uint8), cv2.COLOR_RGB2GRAY)
    forehead = grey[int(drawn.left_eye[1] - 24), int(drawn.nose[0])]
    for x, y in (drawn.left_eye, drawn.right_eye, drawn.nose):
        assert grey[int(y), int(x)] < 0.5 * forehead


def test_an_open_mouth_lengthens_the_head() -> None:
    assert head(mouth="open").box[3] > head(mouth="shut").box[3] + 1


def test_background_coat_and_number_of_animals_can_be_chosen() -> None:
    for index in range(6):
        photo = draw_photo(2, index, "wolf", size=96, max_animals=1, background="snow", coat="black")
        assert photo.background == "snow"
        assert len(photo.animals) <= 1
        assert all(animal.coat == "black" and animal.species == "wolf" for animal in photo.animals)


def test_red_foxes_are_redder_than_wolves_between_ears_and_nose() -> None:
    def redness(species: str, coat: str) -> float:
        drawn = head(species, coat)
        x = int(drawn.nose[0])
        patch = drawn.canvas.rgb[int(drawn.left_eye[1] - 20) : int(drawn.left_eye[1]), x - 6 : x + 6]
        return float((patch[..., 0] - patch[..., 2]).mean())

    assert redness("fox", "red") > 0.25 > max(redness("wolf", coat) for coat in COATS["wolf"])


def test_a_photo_carries_the_marks_of_jpeg() -> None:
    """The 8x8 blocks of JPEG leave steps at their borders, so gradients there differ from those within blocks."""
    ratios = []
    for index in range(6):
        grey = draw_photo(4, index, size=256, max_animals=0).image.mean(2)
        steps = np.abs(np.diff(grey, axis=1)).mean(0)
        borders = np.arange(len(steps)) % 8 == 7
        ratios.append(steps[borders].mean() / steps[~borders].mean())
    assert np.mean(ratios) > 1.05


@pytest.mark.parametrize("species", SPECIES)
def test_a_cutout_is_one_whole_animal_with_nothing_around_it(species: str) -> None:
    for index in range(20):
        photo = draw_cutout(9, index, species, size=96)
        color, alpha = photo.image[..., :3], photo.image[..., 3]
        assert photo.image.shape == (96, 96, 4) and photo.image.dtype == np.uint8
        edges = (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1])
        assert not any(edge.any() for edge in edges), "ears, tail and feet are inside"
        assert 0.1 < (alpha == 255).mean() < 0.4 and (alpha == 0).mean() > 0.5
        assert not color[alpha == 0].any(), "what is invisible is black, so that it does not bleed"
        (animal,) = photo.animals
        x0, y0, x1, y1 = animal.box
        assert 0 < x0 < x1 < 96 and 0 < y0 < y1 < 96
        for x, y in (animal.left_eye, animal.right_eye, animal.nose):
            assert x0 < x < x1 and y0 < y < y1 and alpha[int(y), int(x)] > 200


def test_the_edge_of_a_cutout_has_the_color_of_the_animal_not_of_what_is_around_it() -> None:
    photo = next(p for p in (draw_cutout(9, i, size=256) for i in range(40)) if p.animals[0].coat == "arctic")
    color, alpha = photo.image[..., :3].max(axis=2), photo.image[..., 3]
    assert np.median(color[(alpha > 20) & (alpha < 128)]) > 0.8 * np.median(color[alpha == 255])


def test_cutouts_follow_from_seed_and_index_and_show_every_coat() -> None:
    again = draw_cutout(9, 3, size=64), draw_cutout(9, 3, size=64)
    assert np.array_equal(again[0].image, again[1].image) and again[0].animals == again[1].animals
    assert not np.array_equal(again[0].image, draw_cutout(8, 3, size=64).image)
    for species in SPECIES:
        assert {draw_cutout(9, i, species, size=64).animals[0].coat for i in range(40)} == set(COATS[species])
