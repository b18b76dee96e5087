"""The model card: front matter that the Hub reads, figures of the files, text that Markdown leaves alone."""

import re

import pytest
import yaml
from huggingface_hub import ModelCard

from striate.files import write_json
from striate.report import card
from striate.run import Run
from tests.report.run_files import FASHION, add_certainty, evaluation_of, write_evaluation


def split(text: str) -> tuple[dict, str]:
    _, front, body = text.split("---\n", 2)
    return yaml.safe_load(front), body.replace("\u00a0", " ")


def test_front_matter_is_what_the_hub_expects(make_run):
    run = make_run()
    front, _ = split(card.render(run))
    (evaluation,) = run.evaluations.values()
    assert front["pipeline_tag"] == "image-classification"
    assert "lenet5" in front["tags"]
    assert front["datasets"] == ["zalando-datasets/fashion_mnist"]
    assert "license" not in front
    (result,) = front["model-index"][0]["results"]
    assert result["task"]["type"] == "image-classification"
    assert result["dataset"]["split"] == "test"
    assert [(m["type"], m["value"]) for m in result["metrics"]] == [
        ("accuracy", evaluation.accuracy),
        ("f1", evaluation.macro_f1),
    ]


def test_body_has_use_results_and_every_class(make_run):
    run = make_run()
    assert "curves.png" not in card.render(run)  # it is not there yet
    (run.path / "curves.png").touch()
    _, body = split(card.render(run))
    (e,) = run.evaluations.values()
    low, high = f"{100 * e.low:.1f} %", f"{100 * e.high:.1f} %"
    assert f"**{100 * e.accuracy:.1f} %** of 2,000 test images (95 % interval {low} to {high})" in body
    assert "striate predict runs/first image.png" in body
    assert 'striate.load("runs/first")' in body
    assert run.summary.command in body
    assert "![Loss and accuracy by epoch](curves.png)" in body
    for row in e.per_class:
        cells = " | ".join(f"{100 * getattr(row, key):.1f} %" for key in ("precision", "recall", "f1"))
        assert f"| {row.class_} | {row.support} | {cells} |" in body
    for key, item in run.config.recipe.values.items():
        assert f"| `{key}` |" in body, item


def test_names_cannot_break_out_of_a_table(make_run):
    names = ["a | b", "<script>alert(1)</script>", "[x](http://y) *z* `c`", "line\nbreak", "靴"]
    run = make_run(names)
    _, body = split(card.render(run))
    assert "<script" not in re.sub(r"\\<", "", body)
    table = body.split("| class |")[1].split("\n\n")[0].splitlines()
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in table[2:]] == [6] * 5
    assert r"a \| b" in body
    assert r"\[x\](http://y) \*z\* \`c\`" in body
    assert "line break" in body


def test_without_an_evaluation_nothing_is_claimed(make_run):
    run = make_run(epochs=3, status="interrupted", evaluated=False)
    front, body = split(card.render(run))
    assert "model-index" not in front
    assert "It has not been tested yet" in body
    assert "was interrupted" in body
    assert "striate predict" not in body  # there are no weights yet
    assert "striate evaluate" not in body


def test_other_data_is_listed_but_not_quoted(make_run):
    run = make_run(evaluated=False)
    evaluation, rows = evaluation_of(run.data.classes, 20)
    write_evaluation(run.path, "other-test-centre", evaluation | {"data": "other"}, rows)
    front, body = split(card.render(run))
    assert front["model-index"][0]["results"][0]["dataset"]["name"] == "other"
    assert "It has not been tested yet" in body
    assert "| other, test, centre |" in body


def test_a_set_of_ones_own_has_no_name_on_the_hub(make_run):
    run = make_run()
    config = run.config.as_dict() | {"data": {"name": "photos", "location": "photos"}}
    write_json(run.path / "config.yaml", config)  # JSON is YAML
    front, _ = split(card.render(Run.open(run.path)))
    assert "datasets" not in front


@pytest.mark.parametrize("classes", [["ants", "bees"], FASHION])
def test_the_hub_reads_it(make_run, classes):
    """By its own library: front matter, model index and results come out as they went in."""
    run = add_certainty(make_run(classes))
    read = ModelCard(card.render(run))
    assert (read.data.library_name, read.data.pipeline_tag) == ("striate", "image-classification")
    assert read.data.metrics == ["accuracy", "f1"]
    assert read.data.model_name == "first"
    (found,) = run.evaluations.values()
    results = {result.metric_type: result for result in read.data.eval_results}
    assert results["accuracy"].metric_value == found.accuracy
    assert results["f1"].metric_value == found.macro_f1
    for result in results.values():
        assert (result.task_type, result.dataset_split) == ("image-classification", "test")
        assert (result.dataset_name, result.dataset_type) == (run.data.title, "zalando-datasets/fashion_mnist")
    again = ModelCard(str(read))
    assert again.data.to_dict() == read.data.to_dict()


def test_says_how_to_use_it_without_striate_and_how_far_to_trust_it(make_run):
    run = add_certainty(make_run())
    _, body = split(card.render(run))
    (e,) = run.evaluations.values()
    assert "striate export runs/first --to zip" in body
    assert "With `--abstain`, images that differ too much" in body
    assert "divided by the temperature 1.318, fitted on 1,000 validation images" in body
    assert f"from 4.12 % to 1.31 %; on the test images from {100 * e.ece:.2f} % to 0.99 %." in body
    for row in e.per_class:
        interval = f"{100 * row.low:.1f} % to {100 * row.high:.1f} %"
        assert f"{100 * row.recall:.1f} % | {interval} | {100 * row.f1:.1f} % |" in body


def test_views_of_the_same_pictures_are_one_result(make_run):
    run = make_run()
    evaluation, rows = evaluation_of(FASHION, 20)
    views = {"views": "ten-crop", "scales": [32], "accuracy": 0.9}
    write_evaluation(run.path, "fashion-mnist-sample-test-ten-crop", evaluation | views, rows)
    text = card.render(run)
    front, _ = split(text)
    (result,) = front["model-index"][0]["results"]
    assert [metric["name"] for metric in result["metrics"]] == [
        "accuracy (centre)",
        "macro F1 (centre)",
        "accuracy (ten-crop at 32)",
        "macro F1 (ten-crop at 32)",
    ]
    assert [found.metric_value for found in ModelCard(text).data.eval_results][2] == 0.9
