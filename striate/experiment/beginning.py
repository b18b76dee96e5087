"""From settings to a job: the data loaded, the net built, the recipe resolved. Training, the pre-flight and the search for a rate
begin here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from striate import __version__
from striate.anatomy import Finding as Mistake
from striate.anatomy import inspect
from striate.anatomy.inspecting import Totals
from striate.anatomy.targets import facts
from striate.checkup import Finding, quick
from striate.data import NAMED, DataSet, Reading, read_data
from striate.data.asked import CHANNELS, OF_FILES
from striate.data.preprocessing import preprocessing_for
from striate.data.ranges import fills_sixteen
from striate.data.splits import record, seen_in_training
from striate.errors import UsageError, param
from striate.experiment.preparing import begin_net, check_size, manners, resolve_recipe, split, usual_rate
from striate.experiment.repeating import base_of, resolved
from striate.experiment.requirements import require_pictures
from striate.files import write_json
from striate.machine import be_deterministic, environment, usable_cores, use_cores
from striate.nets.external import ExternalFacts, inner
from striate.nets.netspec import NetFacts
from striate.run import Run
from striate.runforms.config import DataConfig, NetConfig, Origin, Plan, PreprocessingConfig, RecipeConfig, RunConfig
from striate.runforms.data import Data, FindingRow, Ledger
from striate.settings import Settings
from striate.tracking import require
from striate.training import Audience, Job, Speed, epoch_seconds, make_job
from striate.training.ranks import ALONE, Ranks
from striate.trust import trust


@dataclass(frozen=True, eq=False, slots=True)
class Begun:
    """What is there before step 1.

    Attributes:
        row: the net's facts.
        held: positions of the training split that are kept for validation, or None where the data has its own.
        settings: what was asked for.
        net, data: as the run will keep them.
        totals: of the net, for an image of the run's size.
        usual_lr: the rate that the recipe has by itself, where another may have been asked for.
        base: the settings `recipe` and `set` that give the recipe.
        findings: what the quick part of the check-up says of the data, but for sets by name.
        job: what the loop works on.
        cores: that this process may use.
        wanting: what is worth a word about the images of each split.
        mistakes: what the operations of an external net show; the catalogue's are tested to have none.
    """

    row: NetFacts
    dataset: DataSet
    held: npt.NDArray[np.int64] | None
    settings: Settings
    net: NetConfig
    data: DataConfig
    totals: Totals
    usual_lr: float | None
    base: dict[str, object]
    findings: tuple[Finding, ...]
    job: Job
    cores: int
    wanting: tuple[str, ...] = ()
    mistakes: tuple[Mistake, ...] = ()

    def config(self, job: Job, speed: Speed, steps: int) -> RunConfig:
        """The run's config: `job` as it became on the way, and everything that was decided by measuring."""
        epochs = steps / job.batches.steps_per_epoch
        an_epoch = epoch_seconds(job, speed)
        whole = self.totals.macs is not None
        plan = Plan(
            params=self.totals.parameters,
            macs=self.totals.macs,
            macs_counted=None if whole else self.totals.macs_counted,
            macs_not_counted={} if whole else dict(self.totals.not_counted),
            usual_lr=self.usual_lr,
            steps=steps,
            steps_per_epoch=job.batches.steps_per_epoch,
            epochs=round(epochs, 6),
            seconds_per_step=round(speed.step, 6),
            seconds_per_epoch=round(an_epoch, 3),
            seconds=round(an_epoch * epochs, 3),
            device=str(job.device) if job.ranks.count == 1 else job.device.type,
            ranks=job.ranks.count,
            **asdict(speed.manner),
        )
        config = RunConfig(
            striate=__version__,
            net=self.net,
            data=self.data,
            preprocessing=PreprocessingConfig.from_dict(job.preprocessing.as_dict()),
            recipe=RecipeConfig.from_dict({**job.recipe.as_dict(), "epochs": plan.epochs}),
            log=self.settings.log,
            judge=self.settings.judge,
            report=self.settings.report,
            deterministic=self.settings.deterministic,
            plan=plan,
        )
        return replace(config, settings=resolved(config) | self.base)


def begin(settings: Settings, audience: Audience, ranks: Ranks = ALONE) -> Begun:
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
    dataset, settings = _data(settings, row, audience)
    size = settings.size
    dataset.require_excluded()
    dataset.require_range()
    picture = (size, size) if size else dataset.train.shape[:2]
    check_size(row, picture)
    net, published = begin_net(row, dataset, picture, settings)
    recipe = resolve_recipe(row, net, dataset, picture, settings)
    training, validation, held = split(dataset, recipe)
    if not recipe.validation and validation is None and (recipe.keep == "best" or recipe.patience is not None):
        asked = param("keep", "best") if recipe.keep == "best" else param("patience")
        raise UsageError(f"{asked} goes by validation images, and there are none: give {param('validation', 0.1)}")
    if recipe.freeze and not any(True for _ in net.head.parameters()):
        raise UsageError(f"{param('freeze')} is for nets whose head learns by itself, and {row.name} is all body")
    wanting = require_pictures(dataset, training, validation, recipe, settings.judge)
    if dataset.reading is not None and dataset.reading.channels != net.channels:
        raise UsageError(
            f"{row.name} takes {net.channels}-channel images, and the files were read in {dataset.reading.channels}: "
            f"striate.load_data(..., channels={net.channels})"
        )
    preprocessing = replace(
        preprocessing_for(training, picture, net.channels, settings.fit),
        range=dataset.range,
        sixteen=fills_sixteen(dataset.values),
    )
    if published is not None and published.mean is not None and published.std is not None:
        preprocessing = replace(preprocessing, mean=published.mean, std=published.std)
    totals = inspect(net, (net.channels, *preprocessing.size)).totals
    job = make_job(recipe, preprocessing, (training, validation), device, net, ranks)
    mistakes: tuple[Mistake, ...] = ()
    if isinstance(row, ExternalFacts):
        mistakes = inspect(inner(net), (net.channels, *preprocessing.size), classes=net.classes).findings
    return Begun(
        row=row,
        dataset=dataset,
        held=held,
        settings=settings,
        net=NetConfig(
            name=net.spec.name,
            channels=net.channels,
            classes=net.classes,
            init=settings.init,
            weights=None if settings.weights is None else str(Path(settings.weights).resolve()),
            published=settings.pretrained,
            origin=Origin.from_dict(dict(net.spec.origin)),
            notes=tuple(net.notes),
            pretrained=() if published is None else tuple(published.notes),
        ),
        data=DataConfig(
            name=dataset.name,
            location=dataset.location,
            dir=None if settings.data_dir is None else str(Path(settings.data_dir).resolve()),
            **{name: getattr(dataset.reading or Reading(), name) for name in OF_FILES},
        ),
        totals=totals,
        usual_lr=usual_rate(row, net, dataset, picture, settings),
        base=base_of(row, net, recipe) | {"channels": settings.channels},
        findings=() if dataset.location in NAMED else tuple(quick(dataset)),
        job=job,
        cores=cores,
        wanting=tuple(wanting),
        mistakes=mistakes,
    )


def _data(settings: Settings, row: NetFacts, audience: Audience) -> tuple[DataSet, Settings]:
    """The data, loaded unless it was given so, and the settings that lead to the very same images again.

    Raises:
        UsageError: it was loaded otherwise than is asked for.
    """
    size = settings.size
    channels = settings.channels
    if channels is None and isinstance(row, ExternalFacts) and row.input[0] in CHANNELS:
        channels = row.input[0]  # of other numbers `begin_net` says why they cannot be
    asked = Reading(
        size=(size, size) if size else (row.input[1], row.input[2]),
        channels=channels,
        tested=settings.judge == "test",
        **{name: getattr(settings, name) for name in (*OF_FILES, "fit", "range", "on_bad")},
    )
    if not isinstance(settings.data, DataSet):
        return read_data(
            settings.data, asked, data_dir=settings.data_dir, workers=usable_cores(), on_progress=audience.reading
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
    dataset, held, origin = begun.dataset, begun.held, begun.net.origin
    if origin.file is not None:
        trust(Path(origin.file), str(origin.sha256), str(origin.target))
    counts = {name: tuple(data.class_counts()) for name, data in dataset.splits.items()}
    if held is not None and len(held):
        held_counts = dataset.train.select(held).class_counts()
        counts["validation"] = tuple(held_counts)
        counts["train"] = tuple(a - b for a, b in zip(counts["train"], held_counts, strict=True))
    data = Data(
        name=dataset.name,
        title=dataset.title,
        source=dataset.source,
        licence=dataset.licence,
        classes=tuple(dataset.classes),
        counts={name: sum(values) for name, values in counts.items()},
        class_counts=counts,
        shape=dataset.train.shape,
        fingerprint=dataset.train.fingerprint(),
        unreadable=dict(dataset.unreadable),
        excluded=tuple(dataset.excluded_files()),
        junk=dataset.junk,
        ledger=None if dataset.ledger is None else Ledger.from_dict(dataset.ledger.as_dict()),
        values=tuple(row.as_dict() for row in dataset.values),
        seen_in_training=seen_in_training(dataset),
        findings=tuple(
            FindingRow(kind=one.kind, severity=one.severity, title=one.title, count=one.count, words=one.words)
            for one in begun.findings
        ),
    )
    run.keep(run.config)
    write_json(run.path / "environment.json", environment(begun.job.device))
    write_json(
        run.path / "split.json",
        {"validation": None if held is None else held.tolist(), "content": record(dataset, held)},
    )
    write_json(run.path / "data.json", data.as_dict())
