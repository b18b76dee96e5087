"""From settings to a job: the data loaded, the net built, the recipe resolved. Training, the pre-flight and the search for a
learning rate start here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from striate import __version__
from striate.anatomy import Finding as Mistake
from striate.anatomy import inspect
from striate.anatomy.rows import Totals
from striate.anatomy.targets import describe
from striate.checkup.findings import Finding
from striate.checkup.quick import quick
from striate.data import NAMED, DataSet, Reading
from striate.data.dataset import OF_FILES
from striate.data.preprocessing import preprocessing_for
from striate.data.ranges import fills_sixteen
from striate.data.splits import record, seen_in_training
from striate.errors import UsageError, param
from striate.experiment.images import Indices, load, require_images, split
from striate.experiment.initial_net import build_initial_net, check_size
from striate.experiment.recipes import base_of, resolve_recipe, usual_rate
from striate.experiment.repeat import resolved
from striate.files import write_json
from striate.machine import be_deterministic, environment, use_cores
from striate.nets import Net
from striate.nets.external import ExternalFacts, inner
from striate.nets.netspec import NetFacts
from striate.nets.torchvision import Pretrained
from striate.run import Run
from striate.runforms.config import DataConfig, NetConfig, Origin, Plan, PreprocessingConfig, RecipeConfig, RunConfig
from striate.runforms.data import Data
from striate.settings import Settings
from striate.training import Audience, Job, Speed, epoch_seconds, make_job
from striate.training.ranks import ALONE, Ranks
from striate.trust import trust


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Setup:
    """Everything that exists before step 1.

    Attributes:
        row: the net's facts; net, data: as the run will keep them; totals: of the net, for an image of the run's size.
        held: positions of the training split that are kept for validation, or None where the data has its own.
        settings: what was asked for; cores: that this process may use.
        usual_lr: the rate that the recipe has by itself, where another may have been asked for.
        base: the settings `recipe` and `set` that give the recipe.
        findings: what the quick part of the check-up says of the data, except of sets known by name.
        remarks: on the images that the splits have too few of.
        mistakes: what the operations of an external net show; the catalogue's are tested to have none.
    """

    row: NetFacts
    dataset: DataSet
    held: Indices | None
    settings: Settings
    net: NetConfig
    data: DataConfig
    totals: Totals
    usual_lr: float | None
    base: dict[str, object]
    findings: tuple[Finding, ...]
    job: Job
    cores: int
    remarks: tuple[str, ...]
    mistakes: tuple[Mistake, ...]

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
            **asdict(speed.execution),
        )
        config = RunConfig(
            striate=__version__,
            net=self.net,
            data=self.data,
            preprocessing=PreprocessingConfig.from_dict(job.preprocessing.as_dict()),
            recipe=RecipeConfig.from_dict({**job.recipe.as_dict(), "epochs": plan.epochs}),
            plan=plan,
            asked=self.settings.asked(),
            **{name: getattr(self.settings, name) for name in ("log", "judge", "report", "deterministic")},
        )
        return replace(config, settings=resolved(config) | self.base)


def set_up(settings: Settings, audience: Audience, ranks: Ranks = ALONE) -> Setup:
    """Loads the data and makes the job, of this process among `ranks`. Raises UsageError for an unknown name, or numbers that do
    not go together; DataError if the data is missing, damaged, or unsuitable for this net.
    """
    row = describe(settings.net)
    device = ranks.device(settings.device)
    cores = use_cores(ranks.local_count)
    if settings.deterministic:
        be_deterministic()
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    dataset, settings = load(settings, row, audience)
    picture = (settings.size, settings.size) if settings.size else dataset.train.shape[:2]
    check_size(row, picture)
    net, published = build_initial_net(row, dataset, picture, settings)
    recipe = resolve_recipe(row, net, dataset, picture, settings)
    training, validation, held = split(dataset, recipe)
    if recipe.freeze and not any(True for _ in net.head.parameters()):
        raise UsageError(f"{param('freeze')} needs a net with a separate head, and {row.name} has none")
    remarks = require_images(dataset, training, validation, recipe, settings.judge)
    if dataset.reading is not None and dataset.reading.channels != net.channels:
        raise UsageError(
            f"{row.name} takes {net.channels}-channel images, but the files were read with {dataset.reading.channels}: "
            f"striate.load_data(..., channels={net.channels})"
        )
    preprocessing = preprocessing_for(training, picture, net.channels, settings.fit)
    preprocessing = replace(preprocessing, range=dataset.range, sixteen=fills_sixteen(dataset.values))
    if published is not None and published.mean is not None and published.std is not None:
        preprocessing = replace(preprocessing, mean=published.mean, std=published.std)
    shape = (net.channels, *preprocessing.size)
    external = isinstance(row, ExternalFacts)
    totals = inspect(net, shape).totals
    job = make_job(recipe, preprocessing, (training, validation), device, net, ranks)
    return Setup(
        row=row,
        dataset=dataset,
        held=held,
        settings=settings,
        net=_net_config(net, published, settings),
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
        remarks=tuple(remarks),
        mistakes=inspect(inner(net), shape, classes=net.classes).findings if external else (),
    )


def _net_config(net: Net, published: Pretrained | None, settings: Settings) -> NetConfig:
    return NetConfig(
        name=net.spec.name,
        channels=net.channels,
        classes=net.classes,
        init=settings.init,
        weights=None if settings.weights is None else str(Path(settings.weights).resolve()),
        published=settings.pretrained,
        origin=Origin.from_dict(dict(net.spec.origin)),
        notes=tuple(net.notes),
        pretrained=() if published is None else tuple(published.notes),
    )


def write_start(run: Run, setup: Setup) -> None:
    """Writes what the run is, before its first step: config, environment, split and data. The file of its net is trusted then."""
    dataset, held, origin = setup.dataset, setup.held, setup.net.origin
    if origin.file is not None:
        trust(Path(origin.file), str(origin.sha256), str(origin.target))
    counts = {name: data.class_counts() for name, data in dataset.splits.items()}
    if held is not None and len(held):
        counts["validation"] = dataset.train.select(held).class_counts()
        counts["train"] = [a - b for a, b in zip(counts["train"], counts["validation"], strict=True)]
    shown = ("kind", "severity", "title", "count", "words")
    known = {
        **dataset.as_dict(),
        "counts": {name: sum(values) for name, values in counts.items()},
        "class_counts": counts,
        "fingerprint": dataset.train.fingerprint(),
        "seen_in_training": seen_in_training(dataset),
        "findings": [{name: getattr(finding, name) for name in shown} for finding in setup.findings],
    }
    run.keep(run.config)
    write_json(run.path / "environment.json", environment(setup.job.device))
    kept = {"validation": None if held is None else held.tolist(), "content": record(dataset, held)}
    write_json(run.path / "split.json", kept)
    write_json(run.path / "data.json", Data.from_dict(known).as_dict())
