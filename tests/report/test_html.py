"""The report: true, whole, safe, offline."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from striate import report, texts
from striate.data.ledger import Ledger
from striate.drawing import page as pages
from striate.errors import DataError
from striate.files import write_json
from striate.report import card, facts, html
from striate.run import Run
from striate.runforms.evaluation import leading
from tests.report.run_files import (
    CALIBRATION,
    FASHION,
    add_certainty,
    evaluation_of,
    robustness_of,
    write_evaluation,
    write_run,
)

VOID = {"meta", "link", "br", "img", "hr", "input"}
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "</script><script>alert(3)</script>",
    "{{ 7 * 7 }} '\"& \\u003c",
    "靴と帽子",
]


class Page(HTMLParser):
    """Tags in order, their nesting checked; the text outside of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []
        self.text = re.sub(r"\s+", " ", " ".join(self.words).replace("\u00a0", " "))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)


@pytest.fixture(autouse=True)
def small_bundle(monkeypatch, request):
    """Vega's 900 kB stay out of the pages under test, but for the test that is about them."""
    if "bundle" not in request.node.name:
        monkeypatch.setattr(pages, "vega_bundle", lambda: "window.vegaEmbed = null;")


def page_of(run: Run) -> Page:
    return Page(html.render(run))


def test_says_what_the_files_say(make_run):
    run = make_run()
    page = page_of(run)
    (e,) = run.evaluations.values()
    last = run.metrics[-1]

    def percent(fraction, digits=1):
        return f"{100 * fraction:.{digits}f} %"

    for said in (
        f"{percent(e.accuracy)} accuracy on {e.n:,} test images",
        f"{e.correct:,} correct, {e.n - e.correct:,} misclassified",
        f"{percent(e.low)} to {percent(e.high)}",
        f"{percent(e.accuracy)} {percent(e.low)} to {percent(e.high)}",
        f"{percent(e.macro_f1)} {e.loss:.4f} {percent(e.ece, 2)}",
        "61,706 parameters, 0.417 million multiply-adds per image",
        "9,000 for training 1,000 for validation 2,000 for the final test",
        f"Validation accuracy after epoch 12: {percent(last['val_accuracy'])}",
        "Fashion-MNIST (sample of 12,000 images)",
        "Licence: MIT",
        run.data.fingerprint,
        run.summary.command,
        "AMD EPYC",
        "The orange mark, at 10.0 %",
        "2.30 is chance level",
        f"{run.summary.seconds['total']:.0f} s for the whole command",
    ):
        assert said in page.text, said
    for row in e.per_class:
        figures = " ".join(percent(getattr(row, key)) for key in ("precision", "recall", "f1"))
        assert f"{row.class_} {row.support} {figures}" in page.text
    for pair in e.most_confused:
        share = percent(pair.count / 200)
        assert f"{pair.truth} {pair.predicted} {pair.count} {share}" in page.text
    for row in run.metrics:
        assert f"{row['train_loss']:.4f} {percent(row['train_accuracy'], 2)} {row['val_loss']:.4f}" in page.text
    for row in report.worst_mistakes(facts.read_predictions(run.path / "evaluations" / next(iter(run.evaluations)))):
        assert f"{row['truth']} {row['predicted']} {percent(row['confidence'])} {row['loss']:.3f}" in page.text
    kept, recipe, environment = run.config, run.config.recipe.values, run.environment.values
    for section in (recipe, kept.plan.as_dict(), kept.net.as_dict(), environment):
        for key, item in section.items():
            assert f"{key.replace('_', ' ')} {texts.value(item)}" in page.text


def test_is_one_file_that_asks_the_network_for_nothing(make_run):
    run = make_run()
    pixels = np.zeros((2000, 28, 28, 1), np.uint8)
    report.write_samples(run, pixels, np.arange(2000) % 10)
    key = next(iter(run.evaluations))
    folder = run.path / "evaluations" / key
    report.write_mistakes(folder, pixels, facts.read_predictions(folder))
    text = html.render(run)
    page = Page(text)
    loaded = [v for _, attributes in page.tags for k, v in attributes.items() if k in ("src", "href", "data", "poster")]
    assert loaded
    assert all(place.startswith(("#", "data:image/png;base64,")) for place in loaded)
    assert not re.search(r"@import|url\(|\bimport\(|fetch\(|XMLHttpRequest|srcset", text)
    assert {tag for tag, _ in page.tags}.isdisjoint({"link", "iframe", "object", "embed", "base", "form"})
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert all(attributes["alt"] for tag, attributes in page.tags if tag == "img")
    assert sum(tag == "image" for tag, _ in page.tags) == 2  # each once, and shown part by part
    uses = [attributes["href"] for tag, attributes in page.tags if tag == "use"]
    assert uses == ["#samples-tiles"] * 40 + ["#mistakes-tiles-1"] * 24
    assert next(attributes for tag, attributes in page.tags if tag == "html")["lang"] == "en"


def test_sections_are_linked_and_ids_are_unique(make_run):
    page = page_of(make_run())
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {attributes["href"][1:] for tag, attributes in page.tags if tag == "a"}
    sections = {"learning", "quality", "failures", "improve", "data", "time", "use", "limits", "settings"}
    assert links == sections <= set(ids)


def test_names_are_text_whatever_they_contain(make_run):
    run = make_run(HOSTILE)
    write_json(
        run.path / "summary.json",
        run.summary.as_dict() | {"command": "striate train '</pre><script>alert(4)</script>'"},
    )
    folder = run.path / "evaluations" / next(iter(run.evaluations))
    text = html.render(run)
    page = Page(text)
    scripts = [attributes.get("type", "code") for tag, attributes in page.tags if tag == "script"]
    assert scripts == ["application/json"] * 6 + ["code"] * 2
    assert sum(tag == "img" for tag, _ in page.tags) == 0
    assert not [attributes for _, attributes in page.tags if any(key.startswith("on") for key in attributes)]
    assert all(name in page.text for name in HOSTILE)
    assert "alert(4)" in page.text
    assert facts.read_predictions(folder)[0]["truth"] in HOSTILE


def test_says_how_certain_it_is_and_whether_to_trust_its_confidence(make_run):
    run = add_certainty(make_run())
    page = page_of(run)
    ((key, e),) = run.evaluations.items()
    rows = facts.read_predictions(run.path / "evaluations" / key)

    def percent(fraction, digits=1):
        return f"{100 * fraction:.{digits}f} %"

    surest = sorted(rows, key=lambda row: -row["confidence"])[: len(rows) // 2]
    half = sum(row["truth"] == row["predicted"] for row in surest) / len(surest)
    mean = sum(row["confidence"] for row in rows) / len(rows)
    for said in (
        f"Mean confidence {percent(mean)}, accuracy {percent(e.accuracy)}",
        f"underconfident by {100 * (e.accuracy - mean):.1f} points. On the most confident half of the images",
        f"accuracy is {percent(half)}",
        f"{percent(e.macro_f1)} {percent(e.macro_f1_low)} to {percent(e.macro_f1_high)}",
        f"{percent(e.ece, 2)} before and 0.99 % after temperature scaling",
        "divided by the temperature 1.318, because the net was overconfident",
        "fitted on 1,000 validation images. There the calibration error changed from 4.12 % to 1.31 %",
        "whose energy score is below 3.211",
        "accepts 95 % of the validation images",
        "200 of the images, corrupted at five levels of severity. Accuracy on the clean images is 85.0 %",
        "The hardest corruption is noise: 17.0 % at its worst level",
    ):
        assert said in page.text, said
    for row in e.per_class:
        said = f"{percent(row.recall)} {percent(row.low)} to {percent(row.high)} {percent(row.f1)}"
        assert f"{row.class_} {row.support} {percent(row.precision)} {said}" in page.text
    for row in robustness_of(0.85)["corruptions"]:
        assert f"{percent(row['accuracy'])} {row['value']:.2g}" in page.text
    charts = {attributes["id"] for tag, attributes in page.tags if tag == "script" and "id" in attributes}
    assert charts >= {"confidence-1-1", "confidence-1-2", "confidence-1-3", *(f"robustness-1-{k}" for k in range(1, 5))}
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert {"confidence", "robustness"} <= ids


def test_what_was_not_measured_is_no_panel(make_run):
    """As in runs of the first version, which kept neither intervals of classes nor reliability."""
    page = page_of(make_run())
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert not {"confidence", "robustness", "attention", "others"} & ids
    assert "interval of recall" not in page.text


def test_calibrated_but_not_tested(make_run):
    run = make_run(evaluated=False)
    write_json(run.path / "calibration.json", CALIBRATION)
    page = page_of(Run.open(run.path))
    assert "divided by the temperature 1.318" in page.text
    assert "quality" not in {attributes.get("id") for _, attributes in page.tags}


def test_views_of_the_same_pictures_are_a_table_and_one_is_shown_in_full(make_run):
    run = make_run()
    base, rows = evaluation_of(FASHION, 200)
    ten = {"views": "ten-crop", "scales": [32], "views_each": 10, "accuracy": 0.9312}
    write_evaluation(run.path, "fashion-mnist-sample-test-ten-crop", base | ten, rows)
    page = page_of(run)
    assert "fashion-mnist-sample, test, ten-crop at 32 10 2,000" in page.text
    assert "Because the images are the same" in page.text
    assert sum(attributes.get("id", "").startswith("classes-") for _, attributes in page.tags) == 1
    lines = [
        {**base, "views_each": 1, "gained": 0, "lost": 0, "seconds": 1.25, "key": "fashion-mnist-sample-test-centre"},
        {**base, **ten, "gained": 31, "lost": 7, "seconds": 12.5, "key": "fashion-mnist-sample-test-ten-crop"},
    ]
    table = {"rows": lines, "impossible": {"dense": "its head cannot slide"}}
    write_json(run.path / "evaluations" / "fashion-mnist-sample-test-views.json", table)
    page = page_of(run)
    low, high = f"{100 * base['low']:.1f} %", f"{100 * base['high']:.1f} %"
    assert f"ten-crop at 32 10 93.1 % {low} to {high} 31 7" in page.text
    assert "Not dense: its head cannot slide." in page.text
    assert page.text.count("ten-crop at 32") == 1


def test_no_folder_of_the_machine_is_named(make_run):
    run = make_run()
    place = "/home/ann m/secret/photos"
    config = run.config.as_dict() | {"data": {"name": "photos", "location": place}}
    config["net"] = config["net"] | {
        "name": "/home/ann m/nets/mine.py:Net",
        "origin": {"target": "/home/ann m/nets/mine.py:Net"},
    }
    write_json(run.path / "config.yaml", config)
    write_json(
        run.path / "summary.json", run.summary.as_dict() | {"command": f"striate train x --data '{place}' --epochs 1"}
    )
    write_json(
        run.path / "data.json",
        run.data.as_dict() | {"unreadable": {f"{place}/ants/b.gif": f"{place}/ants/b.gif is no image"}},
    )
    evaluation, rows = evaluation_of(FASHION, 20)
    rows = [row | {"path": f"{place}/test/{row['index']}.png"} for row in rows]
    write_evaluation(run.path, "photos-test-centre", evaluation | {"data": "photos"}, rows)
    run = Run.open(run.path)
    for text in (html.render(run), card.render(run)):
        assert "/home/ann" not in text
        assert str(run.path.resolve().parents[1]) not in text
    page = page_of(run)
    assert "striate train x --data" not in page.text  # shortened it would not be true
    assert "The command is in summary.json; it is not shown here because it names folders of the machine" in page.text
    assert f" test/{facts.worst_mistakes(rows)[0]['index']}.png " in page.text
    assert "ants/b.gif : photos/ants/b.gif is no image" in page.text
    assert "mine.py:Net on" in page.text


def test_what_the_figures_lack_is_said_in_report_and_card(make_run):
    run = make_run()
    (key,) = run.evaluations
    path = run.path / "evaluations" / key / "evaluation.json"
    evaluation = json.loads(path.read_text())
    bag = evaluation["classes"].index("Bag")
    evaluation["confusion"][bag] = [0] * len(FASHION)
    evaluation["n"] -= evaluation["per_class"][bag]["support"]
    evaluation["most_confused"] = [row for row in evaluation["most_confused"] if row["truth"] != "Bag"]
    evaluation["per_class"][bag] |= {"support": 0, "precision": 0.0, "recall": 0.0, "f1": 0.0}
    evaluation |= {"absent": ["Bag"], "unanswered": 7, "by_position": "0 is T-shirt/top, 1 is Trouser"}
    write_json(path, evaluation)
    run = Run.open(run.path)
    said = (
        "For 7 of 1,800 test images, the net returned NaN or infinity. They count as misclassified",
        "No test images of Bag: the figures say nothing about them.",
        "These images have class numbers but no names; classes were matched by position: 0 is T-shirt/top, 1 is Trouser.",
    )
    page, text = page_of(run).text, card.render(run).replace("\u00a0", " ")
    for sentence in said:
        assert sentence in page
        assert sentence in text
    assert "Hardest class: Bag" not in page
    assert "Bag 0 0.0 % not known" in page


DAMAGED_FIGURES = {
    "n": 3, "most_confused": [{"truth": "Bag", "predicted": "Coat", "count": 10**6}], "reliability": [], "by_confidence": [],
    "reliability_calibrated": [{"low": 0.0, "high": 1.0, "n": 0, "confidence": 0.5, "accuracy": 0.5}],
    "confusion": [[10**6] * 10] * 10, "unanswered": "x", "absent": 3, "by_position": ["x"],
}  # fmt: skip


@pytest.mark.parametrize("key", DAMAGED_FIGURES)
def test_figures_that_contradict_each_other_are_named_when_a_run_is_opened(make_run, key):
    run = make_run()
    (name,) = run.evaluations
    path = run.path / "evaluations" / name / "evaluation.json"
    write_json(path, json.loads(path.read_text()) | {key: DAMAGED_FIGURES[key]})
    with pytest.raises(DataError, match=rf"evaluation\.json.*{'per_class' if key == 'n' else key}"):
        Run.open(run.path)


DAMAGED_LEDGERS = [{"a": 1}, [], "text", {"what": "files", "entries": 1}, 3]


def test_a_ledger_is_read_as_it_was_written_and_nothing_else_is(make_run):
    run = make_run()
    ledger = Ledger()
    ledger.find(3)
    for fate in ("used", "junk", "other"):
        ledger.enter(fate, f"{fate} one", "a kind")
    write_json(run.path / "data.json", run.data.as_dict() | {"ledger": ledger.as_dict()})
    assert "3 files and folders: 1 used, 1 junk, 1 of another kind" in page_of(Run.open(run.path)).text
    for odd in DAMAGED_LEDGERS:
        write_json(run.path / "data.json", run.data.as_dict() | {"ledger": odd})
        with pytest.raises(DataError, match=r"data\.json.*ledger"):
            Run.open(run.path)
    for key, value in (
        ("excluded", [3]),
        ("seen_in_training", {"other": 1}),
        ("seen_in_training", {"test": 10**9}),
        ("class_counts", {"test": run.data.class_counts["test"]}),
    ):
        write_json(run.path / "data.json", run.data.as_dict() | {key: value})
        with pytest.raises(DataError, match=rf"data\.json.*{key}"):
            Run.open(run.path)


@pytest.mark.slow
def test_a_thousand_classes_are_a_page_that_opens(make_run):
    run = add_certainty(make_run([f"class {i}" for i in range(1000)], each=3))
    text = html.render(run)
    assert len(text) < 3_000_000
    page = Page(text)
    assert "all others are one row and one column" in page.text
    assert len(card.render(run)) < 30_000


@pytest.mark.parametrize(
    ("classes", "epochs"), [(["ants", "bees"], 12), (FASHION, 1), ([f"class {i}" for i in range(100)], 12)]
)
def test_few_and_many_classes_and_a_single_epoch(make_run, classes, epochs):
    run = make_run(classes, epochs=epochs)
    page = page_of(run)
    assert f"{len(classes)} classes" in page.text
    assert f"Trained for {'12' if epochs == 12 else '1 of 12'} epochs" in page.text
    many = "Precision, recall and F1 of the 30 classes with the lowest F1 of 100"
    assert (many in page.text) == (len(classes) == 100)


def test_an_interrupted_run_says_so_and_claims_no_test(make_run):
    page = page_of(make_run(epochs=5, status="interrupted", evaluated=False))
    assert "This run was interrupted after 5 of 12 epochs." in page.text
    assert "accuracy on 1,000 validation images after 5 epochs. This is not a test result" in page.text
    assert "striate train --resume runs/first" in page.text
    assert "It has not been tested" in page.text
    assert "striate predict" not in page.text  # there are no weights yet
    assert "striate evaluate" not in page.text
    assert not {"quality", "failures"} & {attributes.get("id") for _, attributes in page.tags}


def test_a_run_that_failed_at_once_has_no_empty_panel(make_run):
    page = page_of(make_run(epochs=0, status="failed", evaluated=False))
    assert "This run failed after 0 of 12 epochs." in page.text
    assert "Not tested." in page.text
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert {"summary", "data", "use", "limits", "settings"} <= ids
    assert not {"learning", "quality", "failures"} & ids


def test_the_headline_is_the_test_of_the_runs_own_data(make_run):
    run = make_run()
    for name, data, split in (
        ("a-test-centre", "fashion-mnist", "test"),
        ("b-val-centre", "fashion-mnist-sample", "validation"),
    ):
        evaluation, rows = evaluation_of(FASHION, 30, seed=5)
        write_evaluation(run.path, name, evaluation | {"data": data, "split": split}, rows)
    page = page_of(run)
    own = run.evaluations["fashion-mnist-sample-test-centre"]
    assert f"{100 * own.accuracy:.1f} % accuracy on 2,000 test images" in page.text
    assert "fashion-mnist, test, centre" in page.text
    elsewhere = {"x": replace(own, data="mnist")}
    assert leading(run.config, elsewhere) is None
    assert leading(run.config, {}) is None


def test_pictures_left_out_are_named(make_run):
    run = make_run()
    write_json(run.path / "data.json", run.data.as_dict() | {"unreadable": {"ants/not <found>.gif": "not an image"}})
    page = page_of(Run.open(run.path))
    assert "1 file could not be read and was skipped ants/not <found>.gif : not an image" in page.text


def test_test_pictures_that_were_trained_on_are_said_and_nothing_contrary(make_run):
    run = make_run()
    clean = "were used neither for training nor for any choice"
    assert clean in html.render(run)
    write_json(run.path / "data.json", run.data.as_dict() | {"seen_in_training": {"test": 3}})
    text = html.render(Run.open(run.path))
    assert "are also training images" in text
    assert clean not in text


def test_is_the_same_each_time_it_is_made(make_run):
    run = make_run()
    assert html.render(run) == html.render(Run.open(run.path))


@pytest.mark.full
def test_write_all_writes_everything_and_the_bundle_once(tmp_path, monkeypatch):
    import vl_convert

    monkeypatch.setattr(pages.platformdirs, "user_cache_path", lambda _: tmp_path / "cache")
    run = write_run(tmp_path / "runs" / "first")
    written = {path.relative_to(run.path).as_posix() for path in report.write_all(run)}
    charts = {f"evaluations/fashion-mnist-sample-test-centre/{name}.png" for name in ("confusion", "per_class")}
    assert written == {"curves.png", *charts, "report.html", "README.md"}
    assert all((run.path / name).stat().st_size > 1000 for name in written)
    text = (run.path / "report.html").read_text(encoding="utf-8")
    assert text.count("window.vegaEmbed") == 1
    Page(text)
    monkeypatch.setattr(vl_convert, "javascript_bundle", lambda _: pytest.fail("bundled twice"))
    assert pages.vega_bundle() in text


def test_the_bundle_does_without_a_cache(tmp_path, monkeypatch):
    import vl_convert

    (tmp_path / "file").write_text("")
    monkeypatch.setattr(pages.platformdirs, "user_cache_path", lambda _: tmp_path / "file")
    monkeypatch.setattr(vl_convert, "javascript_bundle", lambda _: "made </script> anew")
    assert pages.vega_bundle() == "made <\\/script> anew"


def test_importing_the_package_loads_no_chart_library():
    import subprocess
    import sys

    code = "import striate.report, sys; assert not {'altair', 'vl_convert', 'jinja2', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
