"""README.md of a run: a model card in the form of the Hugging Face Hub, YAML front matter first.

No licence is claimed: what the weights may be used for is for whoever trained them to say, and depends on the data.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from markupsafe import Markup

from striate.files import write_atomic
from striate.report import facts
from striate.report.redact import redact_paths

if TYPE_CHECKING:
    from striate.run import Run

HUB_NAMES = {
    "fashion-mnist": "zalando-datasets/fashion_mnist",
    "fashion-mnist-sample": "zalando-datasets/fashion_mnist",
    "mnist": "ylecun/mnist",
    "cifar10": "uoft-cs/cifar10",
    "cifar100": "uoft-cs/cifar100",
}
"""Our names of data sets -> their names on the Hub."""
MOST_CLASSES = 200
"""Number of classes that the card lists at most; per_class.csv has all."""


def write_card(run: Run) -> Path:
    """Writes README.md of the run, from its files, and returns its path."""
    path = run.path / "README.md"
    write_atomic(path, render(run))
    return path


def render(run: Run) -> str:
    """The card as text."""
    from striate.report.templating import context_of, environment_of

    known = context_of(run)
    lead, command = known["lead"], run.summary.command or ""
    shown = lead.per_class if lead else ()
    if len(shown) > MOST_CLASSES:
        shown = sorted(shown, key=lambda row: (not row.support, row.f1))[:MOST_CLASSES]
    front = yaml.safe_dump(front_matter(run), sort_keys=False, allow_unicode=True, width=120)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", command)), default=0))
    environment = environment_of(run).overlay(autoescape=False, finalize=escaped)
    text = environment.get_template("README.md.j2").render(known, front=front, fence=fence, shown=shown)
    return redact_paths(run)(re.sub(r"\n{3,}", "\n\n", text).strip() + "\n")


def front_matter(run: Run) -> dict[str, object]:
    """The card's metadata (https://huggingface.co/docs/hub/model-cards): a result for each set of images."""
    config, data = run.config, run.data
    front: dict[str, object] = {
        "library_name": "striate",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "pytorch", "striate", Path(config.net.name).name],
    }
    if config.data.name in HUB_NAMES:
        front["datasets"] = [HUB_NAMES[config.data.name]]
    front["metrics"] = ["accuracy", "f1"]
    results: dict[tuple[str, str], dict[str, Any]] = {}
    for found in run.evaluations.values():
        dataset = {
            "name": data.called if found.data == config.data.name else found.data,
            "type": HUB_NAMES.get(found.data, found.data),
            "split": found.split,
        }
        task = {"type": "image-classification", "name": "Image Classification"}
        result = {"task": task, "dataset": dataset, "metrics": []}
        views = facts.views(found, config)
        results.setdefault((found.data, found.split), result)["metrics"] += [
            {"type": "accuracy", "value": found.accuracy, "name": f"accuracy ({views})"},
            {"type": "f1", "value": found.macro_f1, "name": f"macro F1 ({views})"},
        ]
    if results:
        front["model-index"] = [{"name": run.name, "results": list(results.values())}]
    return front


def escaped(value: object) -> str:
    """A value as text that Markdown and the HTML inside it show as it is, in a table too; `Markup` is left as it is."""
    if isinstance(value, Markup):
        return value
    flat = re.sub(r"[^\S\u00a0]+", " ", str(value))
    return re.sub(r"([\\`*_\[\]<>|#~$])", r"\\\1", flat).replace("&", "&amp;")
