"""One loaded classifier, asked by many threads, answers as it answers one; and what it touches of the process is nothing."""

import gc
import io
import json
import re
import shutil
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import striate
from striate import Classifier
from striate.data import Preprocessing, load_data
from striate.errors import DataError, UsageError
from striate.nets import build
from striate.nets.external import adapt
from striate.nets.netspec import NetFacts
from striate.training import Progress

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pixels():
    return np.array(load_data("fashion-mnist-sample").splits["test"].pixels[:2000])


@pytest.fixture(scope="module")
def classifier(trained):
    with Classifier.of(trained, device="cpu") as loaded:
        yield loaded


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0]).save(file, "PNG")
    return file.getvalue()


def own_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("striate-")]


def test_eight_threads_get_the_bits_that_one_gets(classifier, pixels):
    """Each asks for all images, 20 at a time, in an order of its own: an answer's bits depend on the batch, and on no more."""
    generator = np.random.default_rng(0)
    batches = generator.permutation(2000).reshape(100, 20)
    alone = [classifier.logits(pixels[places]) for places in batches]

    def ask(order):
        return [(number, classifier.logits(pixels[batches[number]])) for number in order.tolist()]

    with ThreadPoolExecutor(8) as callers:
        for found in callers.map(ask, [generator.permutation(100) for _ in range(8)]):
            assert sorted(number for number, _ in found) == list(range(100))
            assert all(torch.equal(answer, alone[number]) for number, answer in found)
    one = classifier.logits(pixels[:1])
    with ThreadPoolExecutor(8) as callers:
        assert all(torch.equal(one, found) for found in callers.map(lambda _: classifier.logits(pixels[:1]), range(80)))


def test_predictions_of_eight_threads_are_those_of_one_damaged_images_too(classifier, pixels):
    images = [png(image) for image in pixels[:200]]
    damaged = {7: b"", 50: images[50][:60], 120: b"no image"}
    images = [damaged.get(place, content) for place, content in enumerate(images)]
    batches = [images[start : start + 20] for start in range(0, 200, 20)]
    alone = [list(classifier.predict(batch, top=10)) for batch in batches]
    assert [p.error is not None for batch in alone for p in batch] == [place in damaged for place in range(200)]

    def ask(seed):
        order = np.random.default_rng(seed).permutation(10).tolist()
        return [(place, list(classifier.predict(batches[place], top=10))) for place in order]

    with ThreadPoolExecutor(8) as callers:
        for found in callers.map(ask, range(8)):
            assert all(predictions == alone[place] for place, predictions in found)


def test_one_pil_image_may_be_given_by_many_threads_before_it_is_loaded(classifier, pixels):
    (expected,) = classifier.predict(png(pixels[0]))
    for _ in range(20):
        image = Image.open(io.BytesIO(png(pixels[0])))
        with ThreadPoolExecutor(8) as callers:
            found = list(callers.map(lambda _, image=image: classifier.predict(image)[0], range(8)))
        assert {(one.label, one.confidence) for one in found} == {(expected.label, expected.confidence)}


def test_a_call_makes_no_thread_and_no_filter_and_changes_no_mode(classifier, pixels):
    files = [png(image) for image in pixels[:40]]
    classifier.predict(files)
    threads, filters, seen = {thread.ident for thread in own_threads()}, warnings.filters, []
    kept = list(filters)
    modes = [module.training for module in classifier.net.modules()]
    assert not any(modes)
    torch_threads = torch.get_num_threads()

    def watching():
        for content in files:
            seen.append((warnings.filters is filters and filters == kept, {t.ident for t in own_threads()} == threads))
            yield content

    for _ in range(3):
        classifier.predict(watching())
        list(classifier.predict_many(watching()))
        classifier.features(pixels[:5], "c3")
    assert len(seen) == 6 * len(files)
    assert all(map(all, seen))
    assert torch.get_num_threads() == torch_threads
    assert [module.training for module in classifier.net.modules()] == modes
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in classifier.net.modules())


def test_its_threads_end_with_it(trained, pixels):
    before = len(own_threads())
    with Classifier.of(trained, device="cpu") as one:
        one.predict(png(pixels[0]))
        assert len(own_threads()) > before
    assert len(own_threads()) == before
    with pytest.raises(RuntimeError):
        one.logits(pixels[:1])
    dropped = Classifier.of(trained, device="cpu")
    dropped.logits(pixels[:1])
    (thread,) = [thread for thread in own_threads() if thread.name.startswith("striate-net")][-1:]
    del dropped
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize("name", ["lenet5", "inception-mnist", "resnet20", "densenet40-k12"])
def test_features_of_every_stage_are_those_of_a_plain_hook(name):
    torch.manual_seed(0)
    net = build(name)
    channels, height, width = net.spec.input
    preprocessing = Preprocessing(
        size=(height, width), channels=channels, mean=(0.5,) * channels, std=(0.25,) * channels
    )
    images = np.random.default_rng(0).integers(0, 256, (5, height, width, channels), dtype=np.uint8)
    with Classifier(net=net, preprocessing=preprocessing) as classifier:
        found = {stage: classifier.features(images, stage) for stage in net.stages}
    plain, handles = {}, []
    for stage, module in net.stages.items():
        keep = lambda _, given, output, stage=stage: plain.update({stage: output.clone()})  # noqa: E731
        handles.append(module.register_forward_hook(keep))
    with torch.no_grad():
        net(preprocessing.tensor(images))
    assert list(found) == list(net.stages)
    assert all(torch.equal(found[stage], plain[stage]) for stage in found)


def test_a_module_inside_a_stage_and_one_of_a_net_from_elsewhere_have_features_too(pixels):
    preprocessing = Preprocessing(size=(28, 28), channels=1, mean=(0.5,), std=(0.25,))
    torch.manual_seed(0)
    net = build("inception-mnist")
    inside = Classifier(net=net, preprocessing=preprocessing).features(pixels[:3], "inception1.branches.conv1x1")
    branch = net.stages["inception1"].branches["conv1x1"]
    with torch.no_grad():
        before = net.stages["pool1"](net.stages["conv1"](preprocessing.tensor(pixels[:3])))
        assert torch.equal(inside, branch(before))
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4 * 26 * 26, 3))
    facts = NetFacts(name="own", title="own", family="external", input=(1, 28, 28), min_size=28)
    own = Classifier(net=adapt(module, facts, 1, 3), preprocessing=preprocessing)
    with torch.no_grad():
        assert torch.equal(own.features(pixels[:3], "0"), module[0](preprocessing.tensor(pixels[:3])))
    with pytest.raises(UsageError, match="no stage in inception-mnist"):
        Classifier(net=net, preprocessing=preprocessing).features(pixels[:3], "inception9")


def test_probabilities_are_the_softmax_at_the_runs_temperature(trained, classifier, pixels):
    assert classifier.temperature == trained.calibration.temperature
    assert classifier.classes == tuple(trained.data.classes)
    expected = (classifier.logits(pixels[:9]).double() / classifier.temperature).softmax(1)
    assert torch.equal(classifier.probabilities(pixels[:9]), expected)
    found = classifier.predict(pixels[:9], top=10)
    for prediction, row in zip(found, expected, strict=True):
        assert prediction.confidence == pytest.approx(float(row.max()), abs=1e-6)
    assert classifier.logits(pixels[:0]).shape == (0, 10)


def test_pixels_of_another_kind_are_refused_and_not_taken_for_others(classifier, pixels):
    with pytest.raises(UsageError, match=r"pixels must be uint8 \(N, 28, 28, 1\), got float32 \(2, 28, 28, 1\)"):
        classifier.logits(pixels[:2].astype(np.float32) / 255)
    with pytest.raises(UsageError, match=r"got uint8 \(2, 14, 14, 1\)"):
        classifier.logits(pixels[:2, ::2, ::2])
    with pytest.raises(UsageError, match="run must be a Run"):
        Classifier.of("runs/shoes")


def test_the_weights_of_the_best_epoch_where_the_run_kept_them(trained, pixels, tmp_path):
    run = striate.load(shutil.copytree(trained.path, tmp_path / "copy"))
    with pytest.raises(DataError, match="has no best weights"):
        Classifier.of(run, "best")
    path = run.path / "weights" / "last.safetensors"
    weights = load_file(path)
    save_file({name: tensor * 0.5 for name, tensor in weights.items()}, path.with_name("best.safetensors"))
    last, best = Classifier.of(run, "last", device="cpu"), Classifier.of(run, "best", device="cpu")
    assert torch.equal(last.net.head.classifier.weight * 0.5, best.net.head.classifier.weight)
    assert not torch.equal(last.logits(pixels[:3]), best.logits(pixels[:3]))
    with pytest.raises(UsageError, match="which must be last or best, got 'first'"):
        Classifier.of(run, "first")


def test_the_example_of_the_page_does_what_it_says(trained, pixels, tmp_path, monkeypatch):
    page = (Path(__file__).parents[1] / "docs" / "prediction.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page.partition("## The classifier")[2].partition("\n## ")[0], re.S)
    shutil.copytree(trained.path, tmp_path / "runs" / "shoes")
    for name, image in zip(("boot", "shirt"), pixels, strict=False):
        (tmp_path / f"{name}.png").write_bytes(png(image))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(example, names)
    boot, shirt = names["answers"]
    assert (boot[0].picture, shirt[0].picture) == ("boot.png", "shirt.png")
    assert boot[0].confidence == pytest.approx(float(names["probabilities"].max()), abs=1e-6)
    assert boot[0].label == trained.data.classes[int(names["logits"].argmax())]
    assert names["maps"].shape == (1, 16, 10, 10)


def test_what_a_net_prints_is_no_part_of_an_answer(call, tmp_path, pixels, capsys):
    Path("own.py").write_text(
        "import torch\n"
        "class Own(torch.nn.Module):\n"
        "    def __init__(self, channels=3, classes=10):\n"
        "        super().__init__()\n"
        "        self.conv, self.fc = torch.nn.Conv2d(channels, 4, 3), torch.nn.Linear(4, classes)\n"
        "    def forward(self, x):\n"
        "        print('seen', tuple(x.shape))\n"
        "        return self.fc(self.conv(x).relu().mean((2, 3)))\n"
    )
    np.savez("few.npz", images=pixels[:90, ..., 0], labels=np.arange(90) % 3)
    run = striate.train(
        "own.py:Own", "few.npz", epochs=1, threads=1, layout="nchw", name="own", out=tmp_path / "runs",
        judge="none", report=False, progress=Progress(quiet=True),
    )  # fmt: skip
    capsys.readouterr()
    Path("boot.png").write_bytes(png(pixels[0]))
    code, out, err = call("predict", run.path, "boot.png", "--json")
    assert (code, len(json.loads(out))) == (0, 1)
    assert "seen (1, 1, 28, 28)" in err
    code, out, err = call("explain", run.path, "boot.png", "--method", "saliency", "--json")
    assert (code, len(json.loads(out))) == (0, 1)
    assert "seen" in err
