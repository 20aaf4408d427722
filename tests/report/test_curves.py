import pytest

from foxgan.report.curves import charts, nice_ticks


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.5, 1]),
        (0.12, 0.31, [0.1, 0.15, 0.2, 0.25, 0.3, 0.35]),
        (-3, 40, [-20, 0, 20, 40]),
        (0, 0, [-0.5, 0, 0.5]),
    ],
)
def test_ticks_are_round_and_enclose_the_values(low: float, high: float, ticks: list[float]) -> None:
    assert nice_ticks(low, high, about=len(ticks) - 1) == pytest.approx(ticks)


def test_flat_series_are_drawn_and_values_that_are_no_numbers_are_passed_over() -> None:
    rows = [{"nimg": 0, "a": 2.0}, {"nimg": 1000, "a": 2.0, "b": 1.0}, {"nimg": 2000, "a": 2.0, "b": float("nan")}]
    found = charts(rows)
    assert [chart.title for chart in found] == ["a"]
    assert found[0].series[0].path.count("L") == 2 and found[0].series[0].last == "2"


def test_scores_of_all_scales_share_a_chart() -> None:
    rows: list[dict[str, float]] = [
        {"nimg": n, "swd2k": 9.0, "swd2k_64": 8.0, "swd2k_32": 10.0, "diversity": 1} for n in (0, 1000)
    ]
    titles = {chart.title: [series.name for series in chart.series] for chart in charts(rows)}
    assert titles["Sliced Wasserstein distance x 1000"] == ["swd2k", "swd2k 32", "swd2k 64"]
    assert "Diversity of the fakes, share of the reals'" in titles


def test_nothing_is_drawn_of_a_single_row() -> None:
    assert charts([{"nimg": 1, "a": 1.0}]) == []
