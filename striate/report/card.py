"""README.md of a run: a model card in the form of the Hugging Face Hub, YAML front matter first.

No licence is claimed: what the weights may be used for is for whoever trained them to say, and depends on the data.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from striate.files import write_atomic
from striate.report import facts
from striate.report.limits import limits
from striate.report.places import without_places
from striate.report.wording import SPACE, percent, share
from striate.runforms.evaluation import leading
from striate.texts import thousands, value

if TYPE_CHECKING:
    from striate.run import Run
    from striate.runforms.calibration import Calibration
    from striate.runforms.evaluation import ClassFigures, EvaluationFigures

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
    """Write README.md of the run, from its files, and return its path."""
    path = run.path / "README.md"
    write_atomic(path, render(run))
    return path


def render(run: Run) -> str:
    """The card as text."""
    evaluations = run.evaluations
    key = leading(run.config, evaluations)
    lead = evaluations[key] if key else None
    sections = [
        _summary(run, lead),
        *([_use(run)] if facts.has_weights(run) else []),
        _data(run),
        _results(run, evaluations, key),
        *([_confidence(fitted, lead)] if (fitted := run.calibration) else []),
        "## Limits\n\n" + "\n".join(f"- {escaped(limit)}" for limit in limits(run, lead)),
        _training(run),
    ]
    front = yaml.safe_dump(front_matter(run), sort_keys=False, allow_unicode=True, width=120)
    return without_places(run)(f"---\n{front}---\n\n" + "\n\n".join(section.strip() for section in sections) + "\n")


def front_matter(run: Run) -> dict[str, object]:
    """The card's metadata (https://huggingface.co/docs/hub/model-cards): every set of images becomes a result of
    the model index, with metrics for each way to look at them."""
    config, data = run.config, run.data
    front: dict[str, object] = {
        "library_name": "striate",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "pytorch", "striate", Path(config.net.name).name],
    }
    if config.data.name in HUB_NAMES:
        front["datasets"] = [HUB_NAMES[config.data.name]]
    front["metrics"] = ["accuracy", "f1"]
    results: dict[tuple[str, str], list[dict[str, object]]] = {}
    about: dict[tuple[str, str], dict[str, str]] = {}
    for found in run.evaluations.values():
        own = found.data == config.data.name
        dataset = {
            "name": data.called if own else found.data,
            "type": HUB_NAMES.get(found.data, found.data),
            "split": found.split,
        }
        about.setdefault((found.data, found.split), dataset)
        views = facts.views(found, config)
        results.setdefault((found.data, found.split), []).extend(
            [
                {"type": "accuracy", "value": found.accuracy, "name": f"accuracy ({views})"},
                {"type": "f1", "value": found.macro_f1, "name": f"macro F1 ({views})"},
            ]
        )
    if results:
        task = {"type": "image-classification", "name": "Image Classification"}
        of_each = [{"task": dict(task), "dataset": about[key], "metrics": metrics} for key, metrics in results.items()]
        front["model-index"] = [{"name": run.name, "results": of_each}]
    return front


def escaped(text: str) -> str:
    """Text that Markdown and the HTML inside it show as it is, in a table too."""
    flat = " ".join(text.split())
    return re.sub(r"([\\`*_\[\]<>|#~$])", r"\\\1", flat).replace("&", "&amp;")


def _table(head: list[str], rows: list[list[str]], numbers: int) -> str:
    """A Markdown table; the last `numbers` columns are aligned right."""
    rule = [":---"] * (len(head) - numbers) + ["---:"] * numbers
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, rule, *rows])


def _summary(run: Run, lead: EvaluationFigures | None) -> str:
    config, data, ending, learned = run.config, run.data, run.ending, run.learning
    words = (
        f"{config.net.name} ({thousands(config.plan.params)} parameters), trained to classify images into "
        f"{len(data.classes)} classes on *{escaped(data.called)}*"
    )
    if lead:
        words += (
            f". Accuracy: **{share(lead, 'accuracy')}** of {thousands(lead.n)} {lead.split} images "
            f"(95{SPACE}% interval {share(lead, 'low')} to {share(lead, 'high')})"
        )
    else:
        words += ". It has not been tested yet"
    words += "."
    if ending.how in ("interrupted", "failed", "not finite"):
        words += f"\n\n**The training {'was interrupted' if ending.how == 'interrupted' else 'failed'}** after {ending.count}."
        words += f" To resume: `striate train --resume {facts.address(run)}`."
    elif ending.how != "unknown":
        words += f" Training {ending}."
    if not learned:
        words += f"\n\n**Training did not succeed:** {escaped(learned.said)}."
    if (run.path / "report.html").is_file():
        words += " The full report is [report.html](report.html)."
    curves = "\n\n![Loss and accuracy by epoch](curves.png)" if (run.path / "curves.png").is_file() else ""
    return f"# {escaped(run.name)}\n\n{words}{curves}"


def _use(run: Run) -> str:
    address, quoted = facts.address(run), facts.quoted(run)
    text = f"""## How to use it

The folder holds everything that is needed. With `pip install striate`, for an image or a folder of them:

```sh
striate predict {address} image.png
striate predict {address} photos/ --csv > answers.csv
```

From Python:

```python
import striate

run = striate.load({quoted})
print(run.predict("image.png")[0])
```

Without Striate and PyTorch: this makes a ZIP with the net as ONNX, a script that needs onnxruntime, numpy and Pillow, and
instructions.

```sh
striate export {address} --to zip
```

Images are resized to {facts.size(run.config.preprocessing)}, as in training."""
    if run.calibration and run.calibration.abstain:
        text += " With `--abstain`, images that differ too much from the training images (out-of-distribution) get `unknown`."
    return text


def _data(run: Run) -> str:
    data = run.data
    lines = [f"## Data\n\n{escaped(data.called)}"]
    for word, said in (("Source", data.source), ("Licence of the data", data.licence)):
        if said:
            lines.append(f"{word}: {escaped(said)}")
    counts = [[facts.PARTS.get(part, part), thousands(count)] for part, count in facts.parts(data).items()]
    return ". ".join(lines) + f".\n\n{_table(['images', 'number'], counts, 1)}\n\nFingerprint: `{data.fingerprint}`"


def _results(run: Run, evaluations: facts.Evaluations, lead: str | None) -> str:
    if not evaluations:
        way = f": `striate evaluate {facts.address(run)}`" if facts.has_weights(run) else "."
        return f"## Results\n\nNone yet{way}"
    top5 = any(found.top5 is not None for found in evaluations.values())
    rows = [
        [
            escaped(f"{found.data}, {found.split}, {facts.views(found, run.config)}"),
            thousands(found.n),
            share(found, "accuracy"),
            f"{share(found, 'low')} to {share(found, 'high')}",
            *([share(found, "top5") if found.top5 is not None else ""] if top5 else []),
            share(found, "macro_f1"),
            percent(found.ece, 2),
        ]
        for found in evaluations.values()
    ]
    interval = f"95{SPACE}% interval"
    head = ["images", "number", "accuracy", interval, *(["top-5"] if top5 else []), "macro F1", "calibration error"]
    text = f"## Results\n\n{_table(head, rows, len(head) - 1)}"
    for found in facts.first_of_each(evaluations).values():
        about = f"{found.data}, {found.split}: "
        text += "".join(f"\n\n{escaped(about + sentence)}" for sentence in facts.lacking(found))
    return text if lead is None else f"{text}\n\n{_classes(evaluations[lead].per_class, interval)}"


def _classes(rows: Sequence[ClassFigures], interval: str) -> str:
    """The table of classes, with the interval of recall where it is known; of very many the worst ones."""
    shown = rows
    if len(rows) > MOST_CLASSES:
        shown = sorted(rows, key=lambda row: (not row.support, row.f1))[:MOST_CLASSES]
    lines = [
        [
            escaped(row.class_),
            thousands(row.support),
            percent(row.precision),
            percent(row.recall) if row.support else "not known",
            *(
                []
                if row.low is None or row.high is None
                else [f"{percent(row.low)} to {percent(row.high)}" * bool(row.support)]
            ),
            percent(row.f1),
        ]
        for row in shown
    ]
    head = ["class", "images", "precision", "recall", *([interval] if rows[0].low is not None else []), "F1"]
    table = _table(head, lines, len(head) - 1)
    if len(shown) < len(rows):
        return f"The {len(shown)} classes with the lowest F1, of {len(rows)}:\n\n{table}"
    return table


def _confidence(fitted: Calibration, lead: EvaluationFigures | None) -> str:
    """The temperature and what it changed."""
    if fitted.how == "left out":
        return (
            f"## Confidence\n\nNo temperature scaling: on {thousands(fitted.n)} validation images, no temperature was "
            "reliably better than 1."
        )
    shrunk = ", shrunk towards 1 because they are few" if fitted.how == "shrunk" else ""
    text = (
        f"## Confidence\n\nLogits are divided by the temperature {fitted.temperature:.3f}, fitted on "
        f"{thousands(fitted.n)} validation images{shrunk}. There the calibration error (ECE) changed "
        f"from {percent(fitted.ece_before, 2)} to {percent(fitted.ece, 2)}"
    )
    if lead and lead.ece_calibrated is not None:
        text += f"; on the {lead.split} images from {percent(lead.ece, 2)} to {percent(lead.ece_calibrated, 2)}"
    return f"{text}."


def _training(run: Run) -> str:
    recipe = [[f"`{key}`", escaped(value(item))] for key, item in run.config.recipe.values.items()]
    machine = [[f"`{key}`", escaped(value(item))] for key, item in run.environment.values.items()]
    command = run.summary.command
    text = "## How to repeat it\n\n"
    if command and without_places(run)(command) != command:
        text += "The command is in summary.json; it is not shown here because it names folders of the machine it ran on.\n\n"
    elif command:
        fence = "`" * max(3, 1 + max((len(ticks) for ticks in re.findall("`+", command)), default=0))
        text += f"{fence}sh\n{command}\n{fence}\n\n"
    elif run.summary.no_command:
        text += f"No command repeats it: {escaped(run.summary.no_command)}.\n\n"
    text += f"Every setting is in [config.yaml](config.yaml).\n\n{_table(['recipe', ''], recipe, 0)}"
    return f"{text}\n\n## Environment\n\n{_table(['', ''], machine, 0)}" if machine else text
