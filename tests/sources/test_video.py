"""Films of all sorts as photos: which frames, upright, from damaged and hostile files, in any order."""

import hashlib
import os
from fractions import Fraction

import av
import numpy as np
import pytest

from foxgan.errors import DataError
from foxgan.images import decode
from foxgan.sources.candidate import Refused
from foxgan.sources.films import Film, upright
from foxgan.sources.video import Video, look_through, sharpness, stretches
from foxgan.sources.video_params import VideoParams

SIZE = 64, 48
CORNERS = (
    (220, 40, 40),
    (40, 200, 40),
    (40, 40, 220),
    (200, 200, 40),
)  # top left, top right, bottom left, bottom right


def scene(number, moved=0, size=SIZE):
    """Four plain quarters, other ones for every number, and a bar that moves."""
    width, height = size
    image = np.empty((height, width, 3), np.uint8)
    for corner, (y, x) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        colour = CORNERS[(corner + number) % 4]
        image[y * height // 2 : (y + 1) * height // 2, x * width // 2 : (x + 1) * width // 2] = colour
    start = 4 * moved % width
    image[:, start : start + 8] = 250
    return image


def film(
    path, frames, times=None, codec="libx264", rotate=0, gop=10, aspect=None, flip=False, container=None, **options
):
    """Write a film; `times` in milliseconds (default: 25 frames a second)."""
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w", options=container or {}) as out:
        stream = out.add_stream(codec, rate=25)
        stream.width, stream.height, stream.gop_size, stream.thread_count = width, height, gop, 1
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000 if codec != "gif" else 100)
        stream.options = {"crf": "10"} | options if codec == "libx264" else options
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotate or flip:
            stream.set_display_rotation(rotate, hflip=flip)
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = times[number] if times else 40 * number, Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def moving(count=60, start=0):
    return [scene(0, n) for n in range(start, start + count)]


def video(*paths, max_pixels=1_000_000, **params):
    return Video(paths, max_pixels, VideoParams(**{"min_change": 0} | params))


def names(source):
    return [candidate.source_id for candidate in source.candidates()]


def loaded(source, candidates=None):
    """What becomes of each candidate: the bytes, or the reason."""
    found = {}
    for candidate in candidates or list(source.candidates()):
        try:
            if candidate.refusal:
                raise Refused(candidate.refusal)
            found[candidate.source_id] = source.load(candidate).data
        except Refused as refused:
            found[candidate.source_id] = refused.reason
    source.close()
    return found


def crashes_on_bad(max_pixels, path):
    """As if FFmpeg fell over one of the films."""
    if path.name == "bad.mp4":
        os._exit(7)
    return look_through(max_pixels, path)


def test_a_film_that_brings_ffmpeg_down_costs_only_itself(tmp_path, monkeypatch):
    for name in ("a.mp4", "bad.mp4", "c.mp4"):
        film(tmp_path / name, moving(20))
    monkeypatch.setattr("foxgan.sources.video.look_through", crashes_on_bad)
    source = Video((tmp_path,), 1_000_000, VideoParams(min_change=0), workers=2)
    found = {candidate.source_id: candidate.refusal for candidate in source.candidates()}
    assert found == {"a.mp4#0": "", "bad.mp4": "worker_died", "c.mp4#0": ""}


def bar(data):
    """How far the bar of `scene` has moved."""
    bright = decode(data).astype(int).min(2).mean(0) > 215
    return round(float(np.flatnonzero(bright).mean() - 3.5) / 4)


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        (".mp4", "libx264"),
        (".mkv", "libx264"),
        (".ts", "libx264"),
        (".avi", "mpeg4"),
        (".mov", "mpeg4"),
        (".webm", "libvpx"),
    ],
)
def test_one_frame_a_second_of_every_container(tmp_path, suffix, codec):
    path = film(tmp_path / f"fox{suffix}", moving(70), codec=codec, **({} if codec == "libx264" else {"b": "2000000"}))
    source = video(path)
    assert names(source) == [f"fox{suffix}#{n}" for n in (0, 1, 2)]
    found = loaded(source)
    assert [bar(data) for data in found.values()] == [0, 25 % 16, 50 % 16]
    candidate = next(source.candidates())
    assert candidate.meta == {"group": f"fox{suffix}"} and source.load(candidate).shape == (48, 64, 3)
    source.close()


def test_every_nth_frame_is_taken_and_seconds_may_be_parts(tmp_path):
    path = film(tmp_path / "a.mp4", moving(30))
    found = loaded(video(path, every="7f"))
    assert list(found) == [f"a.mp4#{t}" for t in ("0", "0.28", "0.56", "0.84", "1.12")]
    assert [bar(data) for data in found.values()] == [0, 7, 14, 21 % 16, 28 % 16]
    assert names(video(path, every=0.4)) == [f"a.mp4#{t}" for t in ("0", "0.4", "0.8")]


def test_of_a_variable_rate_the_times_count(tmp_path):
    times = [0, 40, 80, 900, 1700, 1740, 3000, 5000, 5040]
    path = film(tmp_path / "phone.mkv", moving(len(times)), times=times)
    found = loaded(video(path))
    assert list(found) == [f"phone.mkv#{t}" for t in ("0", "1.7", "3", "5")]
    assert [bar(data) for data in found.values()] == [0, 4, 6, 7]


def test_frames_are_the_same_in_any_order_and_after_any_jump(tmp_path):
    path = film(tmp_path / "a.mp4", moving(120), gop=12)
    for pick in ("first", "sharpest", "scene"):
        straight = loaded(video(path, every="5f", pick=pick, min_change=3, scene_change=2))
        source = video(path, every="5f", pick=pick, min_change=3, scene_change=2)
        candidates = list(source.candidates())
        for order in (candidates[::-1], [candidates[n] for n in np.random.default_rng(0).permutation(len(candidates))]):
            assert loaded(source, order) == straight


def test_a_batch_decodes_no_frame_twice(tmp_path, monkeypatch):
    path = film(tmp_path / "a.mp4", moving(100), gop=20)
    decoded, opened, next_frame, open_film = [], [], Film._next, Film._open

    def counting(self):
        fresh = self.ahead is None
        frame = next_frame(self)
        decoded.extend([frame.pts] if fresh and frame is not None else [])
        return frame

    monkeypatch.setattr(Film, "_next", counting)
    monkeypatch.setattr(Film, "_open", lambda self: (opened.append(1), open_film(self))[1])
    for pick in ("first", "sharpest", "scene"):
        source = video(path, every="4f", pick=pick, min_change=2)
        candidates = list(source.candidates())
        decoded.clear(), opened.clear()
        loaded(source, candidates)
        assert len(decoded) == len(set(decoded)) <= 100 and len(opened) == 1
        loaded(source, candidates[10:12])
        assert len(decoded) <= 100 + 1 + 2 * 20, "begins at the nearest key frame"


def test_the_sharpest_frame_of_a_stretch_is_taken(tmp_path):
    import cv2

    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    sharp = cv2.GaussianBlur(noise, (0, 0), 1)
    frames = [cv2.GaussianBlur(sharp, (0, 0), 1 + abs(n % 10 - 6)) if n % 10 != 6 else sharp for n in range(20)]
    found = loaded(video(film(tmp_path / "a.mp4", frames), every="10f", pick="sharpest"))
    for data in found.values():
        assert np.abs(decode(data).astype(int) - sharp).mean() < 12
    assert list(found) == ["a.mp4#0", "a.mp4#0.4"]


def test_sharpness_is_that_of_a_small_copy():
    image = np.random.default_rng(0).integers(0, 256, (600, 2000, 3), np.uint8)
    grainy = av.VideoFrame.from_ndarray(image, format="rgb24")
    assert sharpness(grainy) < sharpness(av.VideoFrame.from_ndarray(image[:300, :500].copy(), format="rgb24")) / 5


def test_after_every_cut_one_frame_is_taken(tmp_path):
    frames = [scene(n >= 12, n % 2) for n in range(25)] + [scene(2, 0)] * 25 + [scene(2, 1)] * 30
    found = loaded(video(film(tmp_path / "a.mp4", frames), every="10f", pick="scene"))
    assert [data if isinstance(data, str) else "taken" for data in found.values()] == [
        "taken", "taken", "taken", "no_cut", "no_cut", "no_cut", "no_cut", "no_cut",
    ]  # fmt: skip
    taken = [decode(data)[8, 40] for data in found.values() if not isinstance(data, str)]
    assert [int(np.abs(np.array(CORNERS) - pixel).sum(1).argmin()) for pixel in taken] == [1, 2, 3]


def test_a_cut_between_two_stretches_is_found(tmp_path):
    frames = [scene(0)] * 10 + [scene(1)] * 10
    found = loaded(video(film(tmp_path / "a.mp4", frames), every="10f", pick="scene"))
    assert all(isinstance(data, bytes) for data in found.values()) and len(found) == 2


def test_near_identical_frames_are_dropped_but_not_for_a_small_thing_that_moves(tmp_path):
    still, rng = scene(0, size=(256, 192)), np.random.default_rng(0)
    noisy = [np.clip(still + rng.normal(0, 6, still.shape), 0, 255).astype(np.uint8) for _ in range(20)]
    path = film(tmp_path / "still.mp4", noisy)
    found = loaded(video(path, every="5f", min_change=4))
    assert [data if isinstance(data, str) else "taken" for data in found.values()] == ["taken", *["similar"] * 3]
    assert all(isinstance(data, bytes) for data in loaded(video(path, every="5f")).values()), "0 keeps all"
    passing = [still.copy() for _ in range(20)]
    for n, image in enumerate(passing):
        image[80:104, n * 8 : n * 8 + 24] = 0
    found = loaded(video(film(tmp_path / "fox.mp4", passing), every="5f", min_change=4))
    assert all(isinstance(data, bytes) for data in found.values()), "a hundredth of the picture"


@pytest.mark.parametrize(
    ("rotate", "flip"), [(0, False), (90, False), (180, False), (270, False), (0, True), (90, True)]
)
def test_films_are_upright(tmp_path, rotate, flip):
    path = film(tmp_path / "a.mov", [scene(0, 100)] * 3, rotate=rotate, flip=flip)
    image = decode(next(iter(loaded(video(path)).values())))
    wanted = np.rot90(scene(0, 100), rotate // 90)
    wanted = wanted[:, ::-1] if flip else wanted
    assert image.shape == wanted.shape
    assert np.abs(image.astype(int) - wanted).mean() < 12


def test_display_matrices_turn_points_as_they_say():
    image = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
    one = 1 << 16
    quarter_clockwise = (0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    assert np.array_equal(upright(image, quarter_clockwise), np.rot90(image, -1))
    assert np.array_equal(upright(image, (-one, 0, 0, 0, one, 0, 0, 0, 1 << 30)), image[:, ::-1])
    assert np.array_equal(upright(image, (0, one, 0, one, 0, 0, 0, 0, 1 << 30)), image.transpose(1, 0, 2))


def test_pixels_become_square(tmp_path):
    path = film(tmp_path / "a.mp4", [scene(0)] * 3, aspect=Fraction(3, 2))
    assert decode(next(iter(loaded(video(path)).values()))).shape == (48, 96, 3)


def test_a_film_that_was_cut_short_gives_what_it_has_and_says_so(tmp_path):
    for suffix in (".mp4", ".mkv"):
        whole = film(
            tmp_path / f"whole{suffix}", moving(100), container={"movflags": "+faststart"} if suffix == ".mp4" else None
        )
        path = tmp_path / f"cut{suffix}"
        path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
        found = loaded(video(path, every="10f"))
        pictures = [bar(data) for data in found.values() if isinstance(data, bytes)]
        assert len(pictures) >= 3 and pictures == [n * 10 % 16 for n in range(len(pictures))]
        assert list(found.items())[-1] == (f"cut{suffix}#end", "cut_short")
        assert "cut_short" not in loaded(video(whole, every="10f")).values()


def test_noise_in_the_middle_costs_the_frames_there(tmp_path):
    data = bytearray(film(tmp_path / "a.mp4", moving(100), container={"movflags": "+faststart"}).read_bytes())
    middle = slice(len(data) * 5 // 10, len(data) * 6 // 10)
    data[middle] = np.random.default_rng(0).integers(0, 256, len(data[middle]), np.uint8).tobytes()
    (tmp_path / "b.mp4").write_bytes(data)
    found = list(loaded(video(tmp_path / "b.mp4", every="4f")).values())
    assert "broken" in found and isinstance(found[0], bytes) and isinstance(found[-1], bytes)
    assert bar(found[0]) == 0 and bar(found[-1]) == 96 % 16


def test_random_damage_never_ends_in_anything_but_pictures_and_reasons(tmp_path):
    rng = np.random.default_rng(0)
    for suffix in (".mp4", ".mkv", ".ts"):
        whole = film(tmp_path / f"whole{suffix}", moving(30)).read_bytes()
        for trial in range(12):
            data = np.frombuffer(whole, np.uint8).copy()
            places = rng.integers(0, len(data), 20)
            data[places] = rng.integers(0, 256, 20)
            path = tmp_path / f"{trial}{suffix}"
            path.write_bytes(data[: rng.integers(1, len(data))].tobytes())
            reasons = {data for data in loaded(video(path, every="3f")).values() if isinstance(data, str)}
            assert reasons <= {"broken", "cut_short", "not_a_film", "too_large"}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("list.m3u8", b"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:2,\nsecret.mp4\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", b"ffconcat version 1.0\nfile secret.mp4\n"),
        ("a.sdp", b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n"),
        ("noise.mp4", bytes(range(256)) * 40),
        ("empty.mp4", b""),
    ],
)
def test_playlists_and_other_files_open_nothing(tmp_path, name, data):
    film(tmp_path / "secret.mp4", moving(10))
    (tmp_path / name).write_bytes(data)
    assert loaded(video(tmp_path / name)) == {name: "not_a_film"}


def test_films_beyond_the_limit_of_pixels_are_refused_before_a_frame_is_decoded(tmp_path):
    path = film(tmp_path / "a.mp4", moving(5))
    assert loaded(video(path, max_pixels=64 * 48 - 1)) == {"a.mp4": "too_large"}
    assert len(loaded(video(path, max_pixels=64 * 48))) == 1


def test_folders_are_searched_and_what_is_no_film_is_told(tmp_path):
    (tmp_path / "deep").mkdir()
    film(tmp_path / "deep" / "b.mp4", moving(30))
    film(tmp_path / "a.mkv", moving(5))
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\nxxxxxxxxx")
    (tmp_path / "half.mp4").write_bytes((tmp_path / "deep" / "b.mp4").read_bytes()[:500])
    (tmp_path / ".hidden.mp4").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("about the films")
    found = loaded(video(tmp_path))
    assert {n: d if isinstance(d, str) else "taken" for n, d in found.items()} == {
        "a.mkv#0": "taken", "half.mp4": "broken", "picture.png": "not_a_film", "deep/b.mp4#0": "taken", "deep/b.mp4#1": "taken",
    }  # fmt: skip
    several = names(video(tmp_path / "deep", tmp_path / "a.mkv"))
    assert several == ["0-deep/b.mp4#0", "0-deep/b.mp4#1", "1-a.mkv#0"]
    with pytest.raises(DataError, match="no such film"):
        names(video(tmp_path / "nothing.mp4"))


def test_a_film_with_another_content_has_other_items(tmp_path):
    path = film(tmp_path / "a.mp4", moving(5))
    source = video(path)

    def hashes(place):
        return {"": hashlib.sha256(place.read_bytes()).hexdigest()}

    before, unhashed = next(source.candidates(hashes)).key, next(source.candidates()).key
    film(path, moving(5, start=3))
    assert next(source.candidates(hashes)).key != before != unhashed


def test_stretches_are_the_same_however_seconds_add_up(tmp_path):
    film(tmp_path / "a.mp4", [scene(0)] * 90, times=[int(n * 100 / 3) for n in range(90)])
    opened = Film(tmp_path / "a.mp4", 10**6)
    timeline = opened.timeline()
    opened.close()
    assert len(list(stretches(timeline, 0.1, False))) == 30
    starts = [start for _, start, _ in stretches(timeline, 0.5, False)]
    assert starts == sorted(set(starts)) and all(key <= start for key, start, _ in stretches(timeline, 7, True))


@pytest.mark.parametrize("every", ["0s", "0f", "1.5f", "2", "fast", "-1s", "1 min", None, True, "1e9s", "nans"])
def test_what_is_no_stretch_is_refused(every):
    with pytest.raises(ValueError, match="seconds .2s, 0.5s. or frames .50f.|every"):
        VideoParams(every=every)


def test_equal_stretches_are_spelled_alike():
    assert {VideoParams(every=e).every for e in ("2s", " 2.0 s", 2, 2.0)} == {"2s"}
    assert VideoParams(every="50f").stretch == (50, True) and VideoParams(every="0.25s").stretch == (0.25, False)
