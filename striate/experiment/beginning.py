"""From settings to a job: the data loaded, the net built, the recipe resolved. Training, the pre-flight and the search for a rate
begin here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from striate.anatomy import Finding as Mistake
from striate.anatomy import inspect
from striate.anatomy.targets import facts
from striate.checkup import Finding, quick
from striate.data import NAMED, DataSet, Reading, read_data
from striate.data.asked import OF_FILES
from striate.data.preprocessing import preprocessing_for
from striate.data.ranges import fills_sixteen
from striate.data.splits import record, seen_in_training
from striate.errors import UsageError
from striate.experiment.preparing import begin_net, check_size, make_config, manners, resolve_recipe, split, usual_rate
from striate.experiment.repeating import only_in_python
from striate.experiment.requirements import require_pictures
from striate.files import write_json, write_yaml
from striate.machine import be_deterministic, environment, usable_cores, use_cores
from striate.nets.elsewhere import ElsewhereFacts, inner
from striate.nets.netspec import NetFacts
from striate.run import Run
from striate.settings import Settings
from striate.tracking import require
from striate.training import Job, Progress, make_job
from striate.training.ranks import ALONE, Ranks
from striate.trust import trust


@dataclass(frozen=True, eq=False, slots=True)
class Begun:
    """What is there before step 1.

    Attributes:
        row: the net's facts.
        held: positions of the training split that are kept for validation, or None where the data has its own.
        config: as the run will keep it, but for the plan.
        findings: what the quick part of the check-up says of the data, but for sets by name.
        job: what the loop works on.
        cores: that this process may use.
        wanting: what is worth a word about the pictures of each split.
        mistakes: what the operations of a net from elsewhere show; the catalogue's are tested to have none.
    """

    row: NetFacts
    dataset: DataSet
    held: npt.NDArray[np.int64] | None
    config: dict[str, Any]
    findings: tuple[Finding, ...]
    job: Job
    cores: int
    wanting: tuple[str, ...] = ()
    mistakes: tuple[Mistake, ...] = ()


def begin(settings: Settings, progress: Progress, ranks: Ranks = ALONE) -> Begun:
    """Loads the data and makes the job, of this process among `ranks`.

    Raises:
        UsageError: an unknown name, or numbers that do not go together.
        DataError: the data is missing, damaged, or nothing for this net.
    """
    require(settings.log)
    row = facts(settings.net)
    device = ranks.device(settings.device)
    cores = use_cores(ranks.local_count)
    manners(device, cores, settings)  # which names what there is not, before anything is loaded
    if settings.deterministic:
        be_deterministic()
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    dataset, settings = _data(settings, row, progress)
    size = settings.size
    dataset.require_excluded()
    dataset.require_range()
    picture = (size, size) if size else dataset.train.shape[:2]
    check_size(row, picture)
    net, published = begin_net(row, dataset, picture, settings)
    recipe = resolve_recipe(row, net, dataset, picture, settings)
    training, validation, held = split(dataset, recipe)
    if not recipe.validation and validation is None and (recipe.keep == "best" or recipe.patience is not None):
        asked = "--keep best" if recipe.keep == "best" else "--patience"
        raise UsageError(f"{asked} goes by validation pictures, and there are none: give --validation 0.1")
    if recipe.freeze and not any(True for _ in net.head.parameters()):
        raise UsageError(f"--freeze is for nets whose head learns by itself, and {row.name} is all body")
    wanting = require_pictures(dataset, training, validation, recipe, settings.judge)
    if dataset.reading is not None and dataset.reading.channels != net.channels:
        raise UsageError(
            f"{row.name} takes {net.channels}-channel pictures, and the files were read in {dataset.reading.channels}: "
            f"striate.load_data(..., channels={net.channels})"
        )
    preprocessing = replace(
        preprocessing_for(training, picture, net.channels, settings.fit),
        range=dataset.range,
        sixteen=fills_sixteen(dataset.values),
    )
    if published is not None and published.mean is not None and published.std is not None:
        preprocessing = replace(preprocessing, mean=published.mean, std=published.std)
    config = make_config(net, dataset, preprocessing, recipe, settings)
    config["plan"]["usual_lr"] = usual_rate(row, net, dataset, picture, settings)
    if (reason := only_in_python(row, net, dataset, picture, settings, recipe)) is not None:
        config["only_in_python"] = reason
    config["net"]["pretrained"] = list(published.notes) if published is not None else []
    job = make_job(
        config, preprocessing.resized(training), validation and preprocessing.resized(validation), device, net, ranks
    )
    findings = () if dataset.location in NAMED else tuple(quick(dataset))
    mistakes: tuple[Mistake, ...] = ()
    if isinstance(row, ElsewhereFacts):
        mistakes = inspect(inner(net), (net.channels, *preprocessing.size), classes=net.classes).findings
    return Begun(row, dataset, held, config, findings, job, cores, tuple(wanting), mistakes)


def _data(settings: Settings, row: NetFacts, progress: Progress) -> tuple[DataSet, Settings]:
    """The data, loaded unless it was given so, and the settings that lead to the very same pictures again.

    Raises:
        UsageError: it was loaded otherwise than is asked for.
    """
    size = settings.size
    asked = Reading(
        size=(size, size) if size else (row.input[1], row.input[2]),
        channels=row.input[0] if settings.channels is None and isinstance(row, ElsewhereFacts) else settings.channels,
        tested=settings.judge == "test",
        **{name: getattr(settings, name) for name in (*OF_FILES, "fit", "range", "on_bad")},
    )
    if not isinstance(settings.data, DataSet):
        return read_data(
            settings.data, asked, data_dir=settings.data_dir, workers=usable_cores(), told=progress.reading
        ), settings
    dataset = settings.data if asked.tested else settings.data.untested()
    read, usual = dataset.reading or Reading(range=dataset.range), Reading()
    decided = [*OF_FILES, "range"]
    if dataset.reading is not None:
        decided += ["fit", "on_bad", *(["size"] if size else []), *(["channels"] if settings.channels else [])]
    for name in decided:
        value = getattr(asked, name)
        if value not in (getattr(usual, name) if name != "size" else None, getattr(read, name)):
            raise UsageError(
                f"{name} is for reading files, and {dataset.name} was given as it was loaded: "
                f"striate.load_data(..., {name}={value!r})"
            )
    return dataset, settings if dataset.reading is None else replace(settings, fit=read.fit)


def write_start(run: Run, begun: Begun) -> None:
    """Writes what the run is, before its first step: config, environment, split and data. The file of its net is trusted then."""
    origin = begun.config["net"]["origin"]
    if "file" in origin:
        trust(Path(origin["file"]), origin["sha256"], origin["target"])
    dataset, held = begun.dataset, begun.held
    split = {"validation": None if held is None else held.tolist(), "content": record(dataset, held)}
    counts = {name: data.class_counts() for name, data in dataset.splits.items()}
    if held is not None and len(held):
        held_counts = dataset.train.select(held).class_counts()
        counts["validation"] = held_counts
        counts["train"] = [a - b for a, b in zip(counts["train"], held_counts, strict=True)]
    write_yaml(run.path / "config.yaml", begun.config)
    write_json(run.path / "environment.json", environment(begun.job.device))
    write_json(run.path / "split.json", split)
    write_json(
        run.path / "data.json",
        {
            "name": dataset.name,
            "title": dataset.title,
            "source": dataset.source,
            "licence": dataset.licence,
            "classes": list(dataset.classes),
            "counts": {name: sum(values) for name, values in counts.items()},
            "class_counts": counts,
            "shape": list(dataset.train.shape),
            "fingerprint": dataset.train.fingerprint(),
            "unreadable": dict(dataset.unreadable),
            "excluded": dataset.excluded_files(),
            "junk": dataset.junk,
            "ledger": None if dataset.ledger is None else dataset.ledger.as_dict(),
            "values": [row.as_dict() for row in dataset.values],
            "seen_in_training": seen_in_training(dataset),
            "findings": [
                {key: value for key, value in finding.as_dict().items() if key not in ("pictures", "pairs", "files")}
                for finding in begun.findings
            ],
        },
    )
