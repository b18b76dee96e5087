"""Charts: valid Vega-Lite, the files' numbers in them, nothing cut, colours that can be told apart."""

import io
import itertools
import json
import re

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest

from striate.drawing import vega
from striate.drawing.theme import NIGHT, PAGE, PAPER
from striate.report.charts import classes, confidence, learning, robustness
from striate.runforms.evaluation import EvaluationFigures, Robustness
from tests.report.run_files import FASHION, evaluation_of, metrics_of, robustness_of, with_certainty

CHINESE = ["靴", "帽子", "衬衫"]
LONG = ["a class name that nobody would call short, " + word for word in ("one", "two", "three")]
SECONDS = {"load": 0.4, "forward": 12.0, "report": 0.0, "other": 75.26, "total": 87.66}


def chart_of(kind: str, subject, palette=PAPER):
    if kind == "curves":
        return learning.curves(subject, palette)
    if kind == "time":
        return learning.time_spent(subject, palette)
    if kind == "robustness":
        return robustness.robustness(Robustness.from_dict(robustness_of(subject)), palette)
    evaluation, rows = evaluation_of(subject, 20)
    evaluation = EvaluationFigures.from_dict(with_certainty(evaluation, rows))
    if kind == "reliability":
        return confidence.reliability(evaluation.reliability, palette)
    if kind == "coverage":
        return confidence.coverage(evaluation.by_confidence, palette)
    if kind == "classes":
        return classes.per_class(evaluation.per_class, palette)
    return classes.confusion(evaluation.confusion, subject, palette)


def without_validation(epochs: int):
    return [row | {"val_loss": None, "val_accuracy": None} for row in metrics_of(epochs)]


HUNDRED = [f"class {i}" for i in range(100)]
CASES = [
    ("curves", metrics_of(12)),
    ("curves", metrics_of(1)),
    ("curves", metrics_of(60)),
    ("curves", without_validation(3)),
    ("curves", [row | {"train_loss": float("nan"), "val_loss": float("inf")} for row in metrics_of(2)]),
    ("time", SECONDS),
    *((kind, names) for kind in ("reliability", "coverage") for names in (["ants", "bees"], FASHION)),
    ("robustness", 0.86),
    ("matrix", [f"class {i}" for i in range(1000)]),
    *((kind, names) for kind in ("matrix", "classes") for names in (["ants", "bees"], FASHION, HUNDRED, CHINESE, LONG)),
]


@pytest.mark.full
@pytest.mark.parametrize(("kind", "subject"), CASES)
def test_is_valid_and_nothing_touches_its_edge(kind, subject):
    chart = chart_of(kind, subject)
    chart.to_dict()  # checks it against the schema, and would raise
    image = np.asarray(Image.open(io.BytesIO(vega.png(chart, scale=1))).convert("RGB"))
    assert (image != 255).any()
    edges = (image[:6], image[-6:], image[:, :6], image[:, -6:])
    assert all((edge == 255).all() for edge in edges), "something is cut, or nearly"


def texts(chart) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", vega.svg(vega.definition(chart)))


@pytest.mark.parametrize("epochs", [1, 12])
def test_curves_show_every_epoch(epochs):
    """Each epoch is a point of each series; a single one too, which is no line."""
    rows = metrics_of(epochs)
    drawn = vega.svg(vega.definition(learning.curve(rows, "accuracy")))
    for colour in (PAPER.first, PAPER.second):
        assert len(re.findall(f'<path [^>]*fill="{colour}"', drawn)) == epochs + 1  # the legend has one too
    plotted = vega.definition(learning.curve(rows, "accuracy"))["datasets"].values()
    values = {(row["epoch"], row["series"]): row["value"] for data in plotted for row in data if "series" in row}
    assert values == {
        (row["epoch"], name): row[key]
        for row in rows
        for name, key in (("training", "train_accuracy"), ("validation", "val_accuracy"))
    }


def test_curves_leave_out_what_was_not_measured():
    assert "validation" not in texts(learning.curve(without_validation(3), "loss"))
    assert {"training", "validation"} <= set(texts(learning.curve(metrics_of(3), "loss")))


@pytest.mark.parametrize("names", [["ants", "bees"], FASHION])
def test_matrix_has_every_count_at_its_place(names):
    evaluation, _ = evaluation_of(names, 50)
    matrix = np.array(evaluation["confusion"])
    chart = classes.confusion(matrix.tolist(), names)
    (cells,) = vega.definition(chart)["datasets"].values()
    drawn = np.zeros_like(matrix)
    for cell in cells:
        drawn[cell["truth"], cell["predicted"]] = int(cell["images"])
        assert cell["share"] == pytest.approx(matrix[cell["truth"], cell["predicted"]] / 50, abs=1e-5)
    assert (drawn == matrix).all()
    shown = texts(chart)
    assert sorted(text for text in shown if text.isdigit()) == sorted(str(count) for count in matrix[matrix > 0])
    assert all(shown.count(name) == 2 for name in names)


def test_a_large_matrix_has_names_and_no_numbers():
    shown = texts(chart_of("matrix", HUNDRED))
    assert not [text for text in shown if text.isdigit()]
    assert all(shown.count(name) == 2 for name in HUNDRED)


def test_a_very_large_matrix_keeps_the_classes_of_most_mistakes():
    names = [f"class {i}" for i in range(200)]
    evaluation, _ = evaluation_of(names, 5)
    matrix = np.array(evaluation["confusion"])
    part, kept, totals = classes.most_confused_part(matrix.tolist(), names, most=10)
    assert kept[-1] == "the other 190"
    mistakes = {name: matrix[i].sum() + matrix[:, i].sum() - 2 * matrix[i, i] for i, name in enumerate(names)}
    assert min(mistakes[name] for name in kept[:-1]) >= max(mistakes[name] for name in names if name not in kept)
    chosen = [names.index(name) for name in kept[:-1]]
    others = [i for i in range(200) if i not in chosen]
    assert (np.array(part)[:-1, :-1] == matrix[np.ix_(chosen, chosen)]).all()
    assert np.array(part)[:-1, -1].tolist() == matrix[np.ix_(chosen, others)].sum(1).tolist()
    assert part[-1][-1] == sum(matrix[i, i] for i in others)
    assert totals == [5] * 10 + [5 * 190]


def plotted(chart) -> list[dict]:
    return [row for rows in vega.definition(chart)["datasets"].values() for row in rows]


def test_reliability_draws_every_bin_with_its_interval():
    evaluation, rows = evaluation_of(FASHION, 40)
    bins = EvaluationFigures.from_dict(with_certainty(evaluation, rows)).reliability
    drawn = [row for row in plotted(confidence.reliability(bins)) if "n" in row]
    assert [(row["n"], row["confidence"], row["accuracy"]) for row in drawn] == [
        (part.n, part.confidence, part.accuracy) for part in bins
    ]
    for row in drawn:
        bounds = binomtest(round(row["accuracy"] * row["n"]), row["n"]).proportion_ci(method="wilson")
        assert (row["least"], row["most"]) == pytest.approx((bounds.low, bounds.high))


def test_coverage_and_robustness_draw_every_figure():
    evaluation, rows = evaluation_of(FASHION, 40)
    found = EvaluationFigures.from_dict(with_certainty(evaluation, rows)).by_confidence
    drawn = [(row["kept"], row["accuracy"]) for row in plotted(confidence.coverage(found))]
    assert drawn == [(row.kept, row.accuracy) for row in found]
    tried = Robustness.from_dict(robustness_of(0.8))
    assert robustness.kinds(tried) == ["gaussian-noise", "blur", "rotation", "contrast"]
    for name in robustness.kinds(tried):
        wanted = {0: 0.8} | {row.level: row.accuracy for row in tried.corruptions if row.name == name}
        points = [row for row in plotted(robustness.robustness_curve(tried, name)) if "shown" in row]
        assert {row["level"]: row["accuracy"] for row in points} == wanted


def test_the_interval_of_recall_is_a_line_where_it_is_known():
    evaluation, rows = evaluation_of(FASHION, 100)
    known = EvaluationFigures.from_dict(with_certainty(evaluation, rows)).per_class
    lines = {row["place"]: (row["low"], row["high"]) for row in plotted(classes.per_class(known)) if row.get("low")}
    worst = classes.worst_classes(known)
    assert lines == {place: (row.low, row.high) for place, row in enumerate(worst)}
    assert not [
        row for row in plotted(classes.per_class(EvaluationFigures.from_dict(evaluation).per_class)) if row.get("low")
    ]


def test_classes_come_worst_first_with_their_f1():
    evaluation, _ = evaluation_of(FASHION, 100)
    order = sorted(evaluation["per_class"], key=lambda row: row["f1"])
    shown = texts(classes.per_class(EvaluationFigures.from_dict(evaluation).per_class))
    assert [text for text in shown if text in FASHION] == [row["class"] for row in order]
    figures = [f"{100 * row['f1']:.1f}\u00a0%" for row in order]
    assert [text for text in shown if re.fullmatch(r"\d+\.\d\u00a0%", text)] == figures


def test_time_is_shown_with_its_share():
    shown = texts(learning.time_spent(SECONDS))
    assert "12\u00a0s · 13.7\u00a0%" in shown
    assert "1\u00a0min\u00a015\u00a0s · 85.9\u00a0%" in shown
    assert "report and charts" not in shown  # it took nothing yet
    assert "everything else" in shown


def test_the_page_palette_names_variables_only():
    """Drawn for the page, a chart has no colour of its own, so that it follows light, dark and print."""
    for kind, subject in dict(CASES).items():
        assert not re.findall(r"#[0-9a-fA-F]{6}", json.dumps(vega.definition(chart_of(kind, subject, PAGE))))


def linear(colour: str) -> np.ndarray:
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB (D65) of linear sRGB."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    ratio = to_xyz @ rgb / (to_xyz @ np.ones(3))
    f = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


# Machado, Oliveira & Fernandes 2009, severity 1.0, for linear sRGB
BLIND = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


@pytest.mark.parametrize("palette", [PAPER, NIGHT], ids=["paper", "night"])
@pytest.mark.parametrize("blindness", BLIND)
def test_colour_blind_readers_tell_series_apart(palette, blindness):
    """A CIELAB distance of 20 is large: 2.3 is just noticeable. Dash and shape differ besides."""
    seen = {}
    for name in ("first", "second", "third", "right", "wrong"):
        seen[name] = lab(np.clip(np.array(BLIND[blindness]) @ linear(getattr(palette, name)), 0, 1))
    pairs = [*itertools.combinations(("first", "second", "third"), 2), ("right", "wrong")]
    for a, b in pairs:
        assert np.linalg.norm(seen[a] - seen[b]) >= 20, (a, b)


def blended(ink: str, surface: str, opacity: float) -> np.ndarray:
    """Linear sRGB of ink over a surface, mixed as browsers do, in gamma-encoded values."""
    a, b = (np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) for colour in (ink, surface))
    mixed = np.round(opacity * a + (1 - opacity) * b).astype(int)
    return linear("#" + "".join(f"{value:02x}" for value in mixed))


def luminance(rgb: np.ndarray) -> float:
    return float(np.array([0.2126, 0.7152, 0.0722]) @ rgb)


@pytest.mark.parametrize("palette", [PAPER, NIGHT], ids=["paper", "night"])
@pytest.mark.parametrize("kind", ["right", "wrong"])
def test_the_matrix_is_even_and_its_numbers_legible(palette, kind):
    """Lightness changes steadily with the ink (no step over twice the mean one), and numbers keep a contrast of 4.3
    (WCAG asks 3 of large, 4.5 of small text) on every share of the row."""
    shares = np.linspace(0, 1, 101)
    inks = [blended(getattr(palette, kind), palette.surface, 0.1 + 0.9 * share**0.5) for share in shares]
    even = [blended(getattr(palette, kind), palette.surface, opacity) for opacity in np.linspace(0.1, 1, 19)]
    steps = np.diff([lab(rgb)[0] for rgb in even])
    assert (np.sign(steps) == np.sign(steps[0])).all()
    assert np.abs(steps).max() <= 2 * np.abs(steps).mean()
    for share, rgb in zip(shares, inks, strict=True):
        text = palette.on_ink if share > classes.DENSE else palette.off_ink
        light, dark = sorted((luminance(rgb), luminance(linear(text))), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.3, share


def test_png_is_written_at_scale(tmp_path):
    chart = learning.time_spent(SECONDS)
    vega.save_png(chart, tmp_path / "small.png", scale=1)
    vega.save_png(chart, tmp_path / "large.png", scale=2)
    small, large = (Image.open(io.BytesIO((tmp_path / f"{name}.png").read_bytes())).size for name in ("small", "large"))
    assert large == pytest.approx((2 * small[0], 2 * small[1]), abs=2)
