"""Prediction feeds the net what evaluation feeds it, and a bad image stops nothing."""

import csv
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

import striate
from striate import classifier, evaluation
from striate.classifier import predict
from striate.data import Preprocessing, load_data
from striate.data.inputs import Unreadable, read, read_in_batches
from striate.errors import DataError, UsageError
from striate.inference import load_net, logits

pytestmark = pytest.mark.usefixtures("no_charts")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def test_set():
    return load_data("fashion-mnist-sample").splits["test"]


@pytest.fixture
def png_files(test_set, tmp_path):
    files = []
    for number, pixels in enumerate(test_set.pixels[:300]):
        files.append(tmp_path / f"{number:03d}.png")
        Image.fromarray(pixels[..., 0]).save(files[-1])
    return files


@pytest.fixture
def fed(monkeypatch):
    """Every tensor that a net loaded from a run is called with, and what it answers."""
    seen = []

    def recording(run, device, which=None):
        net = load_net(run, device, which=which)
        net.register_forward_hook(lambda module, inputs, output: seen.append((inputs[0].clone(), output.clone())))
        return net

    monkeypatch.setattr(classifier, "load_net", recording)
    return seen


def test_files_reach_the_net_as_the_very_tensors_of_evaluation(trained, png_files, test_set, fed, tmp_path):
    copy = striate.load(shutil.copytree(trained.path, tmp_path / "copy"))
    evaluation.evaluate(copy)
    evaluated = [torch.cat(parts)[:300] for parts in zip(*fed, strict=True)]
    fed.clear()
    predict(copy, png_files)
    predicted = [torch.cat(parts) for parts in zip(*fed, strict=True)]
    assert torch.equal(predicted[0], evaluated[0])
    torch.testing.assert_close(predicted[1], evaluated[1], rtol=1.3e-6, atol=1e-5)


def test_at_the_same_batch_size_the_logits_are_the_same_bits(trained, png_files, test_set):
    preprocessing = trained.preprocessing
    from_files = np.stack([read(preprocessing, file) for file in png_files])
    with classifier.Classifier.of(trained, device="cpu") as loaded:
        found = loaded.logits(from_files)
    assert torch.equal(found, logits(load_net(trained, CPU), preprocessing, test_set.pixels[:300], CPU))


def test_every_form_of_a_picture_gives_the_same_answer(trained, png_files, test_set):
    with Image.open(png_files[0]) as image:
        forms = [png_files[0], str(png_files[0]), png_files[0].read_bytes(), image, test_set.pixels[0]]
        predictions = trained.predict(*forms, test_set.pixels[0][..., 0])
    # In one batch the place decides which kernel sums an image's products, and so the last bits.
    for prediction in predictions:
        assert [name for name, _ in prediction.top] == [name for name, _ in predictions[0].top]
        assert [value for _, value in prediction.top] == pytest.approx(
            [value for _, value in predictions[0].top], abs=1e-5
        )
    assert predictions[0].picture == str(png_files[0])
    assert predictions[2].picture == "image 3"
    assert predictions[0].label == predictions[0].top[0][0]
    assert len(predictions[0].top) == 3
    everything = predict(trained, png_files[:1], top=99)[0].top
    assert sum(value for _, value in everything) == pytest.approx(1)


def test_predictions_agree_with_the_evaluation_kept_in_the_run(trained, png_files):
    folder = trained.path / "evaluations" / "fashion-mnist-sample-test-centre"
    with (folder / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    predictions = predict(trained, png_files)
    assert [prediction.label for prediction in predictions] == [row["predicted"] for row in rows[:300]]
    kept = json.loads((folder / "evaluation.json").read_text())
    assert kept["correct"] == sum(row["truth"] == row["predicted"] for row in rows)
    assert kept["n"] == len(rows) == 2000


def test_a_photo_of_any_size_and_colour_is_taken(trained, tmp_path):
    Image.new("RGBA", (300, 200), (200, 10, 10, 128)).save(tmp_path / "photo.png")
    prediction = trained.predict(tmp_path / "photo.png")[0]
    assert prediction.error is None
    assert prediction.label in trained.data.classes


def test_what_cannot_be_read_is_named_and_the_rest_predicted(trained, png_files, tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("hello")
    found = predict(trained, [tmp_path / "gone.png", png_files[0], tmp_path / "empty.png", tmp_path / "text.png", b""])
    assert [prediction.error for prediction in found][:3] == ["no such file", None, "empty file"]
    assert found[3].error.startswith("not an image")
    assert found[4].error.endswith("empty file")
    assert found[1].label is not None
    assert str(found[0]) == f"{tmp_path / 'gone.png'}: no such file"
    assert all(prediction.error for prediction in predict(trained, [b"", b"x"]))


def test_odd_arrays_are_refused_with_what_is_taken(trained):
    with pytest.raises(DataError, match=r"must be \(H, W\)"):
        read(trained.preprocessing, np.zeros((4, 4, 2)))


def test_tensors_are_pictures_too(trained, test_set):
    bytes_ = torch.from_numpy(test_set.pixels[:3]).permute(0, 3, 1, 2)
    as_arrays = trained.predict(test_set.pixels[:3])
    assert len(as_arrays) == 3
    for form in ((bytes_,), (bytes_ / 255,), (bytes_.double() / 255,), tuple(bytes_), (bytes_.expand(3, 3, 28, 28),)):
        found = trained.predict(*form)
        assert [p.label for p in found] == [p.label for p in as_arrays]
        assert [p.confidence for p in found] == pytest.approx([p.confidence for p in as_arrays], abs=1e-5)
        assert [p.picture for p in found] == ["image 1", "image 2", "image 3"]


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (torch.zeros(3, 4, 4) - 0.5, "pass images before they are normalised"),
        (torch.full((1, 4, 4), torch.nan), "16 of its 16 values are NaN"),
        (
            torch.zeros(1, 4, 4, dtype=torch.int64),
            "whole-number values from 0 to 0, with unknown black and white",
        ),
        (torch.zeros(28), r"must be (H, W), (C, H, W) or (N, C, H, W) with 1 or 3 channels, got (28,)"),
        (torch.zeros(28, 28, 3), "got (28, 28, 3)"),
        (torch.zeros(3, 0, 4, dtype=torch.uint8), "got (3, 0, 4)"),
    ],
)
def test_odd_tensors_are_refused_with_what_is_taken(trained, tensor, said):
    (found,) = trained.predict(tensor)
    assert said in found.error


def test_one_pil_picture_may_be_given_many_times(trained, png_files):
    with Image.open(png_files[0]) as image:
        found = trained.predict(*[image] * 40)
    assert {prediction.label for prediction in found} == {trained.predict(png_files[0])[0].label}


def test_a_folder_is_its_pictures_as_people_count_and_never_in_circles(trained, test_set, tmp_path):
    root = tmp_path / "folder"
    names = ("2.png", "10.png", "1.PNG", "sub/b2.png", "sub/b10.png", "Sub3/a.jpeg")
    for name in (*names, ".hidden/x.png", ".x.png", "a picture.txt", "__MACOSX/x.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(test_set.pixels[0][..., 0]).save(root / name, format="PNG")
    (root / "notes.txt").write_text("words")
    (root / "sub" / "loop").symlink_to(root)
    (root / "again").symlink_to(root / "Sub3")
    (root / "gone.png").symlink_to(root / "nowhere")
    found = trained.predict(root)
    assert [prediction.picture.removeprefix(f"{root}/") for prediction in found] == [
        "1.PNG", "2.png", "10.png", "a picture.txt", "gone.png", "sub/b2.png", "sub/b10.png", "Sub3/a.jpeg",
    ]  # fmt: skip
    assert [prediction.error for prediction in found if prediction.error] == ["no such file"]
    ledger = found.ledger.as_dict()
    assert ledger["entries"] == sum(len(folders) + len(files) for _, folders, files in os.walk(root))
    assert [ledger[fate] for fate in ("used", "junk", "unreadable", "other")] == [9, 7, 1, 1]
    (tmp_path / "empty").mkdir()
    assert "no images in this folder" in trained.predict(tmp_path / "empty")[0].error


def test_a_stream_reads_no_further_than_a_batch_and_holds_nothing(trained, test_set):
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield test_set.pixels[0]

    stream = trained.predict_many(endless())
    assert not taken
    assert next(stream).label is not None
    assert len(taken) == 500
    stream.close()
    assert list(trained.predict_many(iter([]))) == []


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_batches_that_are_decoded_ahead_come_in_order(ahead):
    asked = []

    def pictures():
        for number in range(11):
            asked.append(number)
            yield np.full((1, 1), number, np.uint8) if number != 4 else Unreadable("bad", "no")

    one = Preprocessing(size=(1, 1), channels=1, mean=(0.0,), std=(1.0,))
    with ThreadPoolExecutor(2) as pool:
        batches = read_in_batches(pool, pictures(), one, 3, ahead)
        first = next(batches)
        assert len(asked) == min(3 * (ahead + 1), 11)
        found = [*first, *(pair for batch in batches for pair in batch)]
    assert [name for name, _ in found] == ["bad" if n == 4 else f"image {n + 1}" for n in range(11)]
    assert [pixels if isinstance(pixels, str) else int(pixels[0, 0, 0]) for _, pixels in found] == [
        *range(4),
        "no",
        *range(5, 11),
    ]


def test_the_net_stays_loaded_until_the_runs_files_change(trained, png_files, fed, tmp_path, monkeypatch):
    run = striate.load(shutil.copytree(trained.path, tmp_path / "copy"))
    calibration = json.loads((run.path / "calibration.json").read_text())
    (run.path / "calibration.json").unlink()
    loaded = []
    real = classifier.load_net
    monkeypatch.setattr(classifier, "load_net", lambda *given, **more: loaded.append(1) or real(*given, **more))
    before = [run.predict(png_files[0])[0].confidence for _ in range(3)]
    assert len(loaded) == 1
    (run.path / "calibration.json").write_text(json.dumps({**calibration, "temperature": 3.0}))
    after = run.predict(png_files[0])[0]
    assert len(loaded) == 2
    net_says = fed[-1][1].double()[0]
    assert before[0] == pytest.approx(net_says.softmax(0).max().item(), abs=1e-6)
    assert after.confidence == pytest.approx((net_says / 3).softmax(0).max().item(), abs=1e-6)


@pytest.mark.full
def test_evaluating_other_data_adds_to_the_run_and_wrong_data_is_refused(trained, tmp_path, pictures):
    run = striate.load(shutil.copytree(trained.path, tmp_path / "copy"))
    found = striate.evaluate(run, split="validation")
    assert found.summary.n == 1000
    assert found.summary.correct / 1000 == pytest.approx(run.metrics[-1]["val_accuracy"])
    assert set(run.evaluations) == {"fashion-mnist-sample-test-centre", "fashion-mnist-sample-validation-centre"}
    assert "validation" in (run.path / "report.html").read_text()
    with pytest.raises(DataError, match="classes that the run does not know: dark, light"):
        striate.evaluate(run, pictures)
    with pytest.raises(UsageError, match="no split 'tests'"):
        striate.evaluate(run, split="tests")


def test_damaged_and_foreign_weights_are_refused(trained, tmp_path):
    run = striate.load(shutil.copytree(trained.path, tmp_path / "copy"))
    path = run.path / "weights" / "last.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:100])
    with pytest.raises(DataError, match=r"last\.safetensors is (damaged|refused)"):
        run.predict(b"")
    path.write_bytes(striate_weights_of("lenet5-bn"))
    with pytest.raises(DataError, match="does not hold the weights of lenet5"):
        run.predict(b"")
    path.unlink()
    with pytest.raises(DataError, match="no finished weights"):
        run.predict(b"")


def striate_weights_of(name):
    from safetensors.torch import save

    return save(striate.build(name).state_dict())
