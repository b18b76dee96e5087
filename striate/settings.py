"""Settings: what a person asks for when a net is to be trained, each field said once.

From the fields come the signature of `striate.train`, the options of `striate train` with their help and choices, and what the
config keeps. Loads nothing heavy: the command line reads it to answer `--help`.
"""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from striate import choices
from striate.arguments import check_fields
from striate.errors import UsageError, param, unknown_name

if TYPE_CHECKING:
    from torch import nn

    from striate.data import DataSet
    from striate.data.athand import MapStyle
    from striate.data.augmentation import Augmentation
    from striate.recipe import Recipe

AUTO = "auto"
"""The net that is chosen: see `striate.experiment.auto`."""
INDIFFERENT = frozenset({"name", "out", "log", "report", "on_bad", "data_dir"})
"""Settings that change nothing about the result."""


def option(default: Any, help: str, group: str = "", **about: Any) -> Any:
    """A field with what the command line says of it.

    Args:
        group: the heading that `--help` shows it under.
        about: what else the parser is told, such as `metavar` and `envvar`; `names`, where they are not the field's.
    """
    return field(default=default, metadata={"help": help, "group": group, **about})


@choices.takes_old_names
@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be asked of a training run. Where a field is None, the recipe or a measurement decides.

    `data` may also be what `load_data` takes from Python: (images, labels), a Dataset, a dict of splits. If it is a DataSet, the
    fields that decide how files are read (`group_by`, `exclude`, `splits`, `fit`, `range`, `size`, `channels`) are those of
    `load_data`. `net` may also be a module: it is copied, not changed, and training starts from its present weights. `recipe` may
    be a Recipe; other fields that are given override it. `augment` may be an Augmentation, and `resize_schedule` the tuple that
    `Recipe` has. `budget` is in seconds. Floating-point sums depend on `threads` and `layout`: two runs with the same seed are
    bit-equal if these are equal too.
    """

    net: str | nn.Module = option(
        AUTO,
        "Network: auto (chosen for the images, the time and this machine), a name from `striate nets`, FILE.py:OBJECT, "
        "torchvision:NAME or timm:NAME.",
        argument=True,
    )
    data: str | Path | DataSet | MapStyle = option(
        "fashion-mnist-sample",
        "Data set: a known name, torchvision:NAME, hf:USER/NAME or medmnist:NAME; a folder with one subfolder per class, a table "
        "of paths and labels, or a .npz file.",
        "Data",
    )
    _: KW_ONLY
    epochs: choices.Epochs | None = option(None, "Passes over the training images.", "Training")
    budget: choices.Seconds | None = option(
        None, "Time limit for the whole command, instead of --epochs: 90s, 5m, 1h30m.", "Training", metavar="TIME"
    )
    recipe: str | Path | Recipe = option(
        "fast", "Training recipe: fast, paper, tutorial, or a YAML file (also the config.yaml of a run).", "Training"
    )
    set: Sequence[str] | Mapping[str, Any] = option(
        (),
        "Any field of the recipe, such as optimizer=sgd or weight-decay=5e-4; may be repeated.",
        "Training",
        metavar="FIELD=VALUE",
    )
    batch_size: choices.Batch | None = option(None, "Batch size.", "Training", names="--batch-size -b")
    lr: choices.Rate | None = option(None, "Peak learning rate.", "Training")
    seed: choices.Seed | None = option(None, "Random seed for weights, data order and augmentation.", "Training")
    augment: str | Augmentation | None = option(
        None, "Augmentation of the training images, such as flip,shift=4,colour; see docs/data.md.", "Training"
    )
    size: choices.Side | None = option(None, "Image size in pixels (height and width).", "Data")
    channels: int | None = option(
        None, "Image channels: 1 (grey) or 3 (colour). Default: those of the images, 1 if all are grey.", "Data"
    )
    fit: choices.Fit = option(
        "crop", "How non-square images are resized: crop the centre, pad with black, or squash.", "Data"
    )
    validation: choices.Part | None = option(None, "Fraction of the training images held out for validation.", "Data")
    splits: str | None = option(
        None,
        "Which folders are splits, such as train=training_set,test=test_set; none if every folder is a class. "
        "Default: recognised by name.",
        "Data",
    )
    range: str | Sequence[float] | None = option(
        None, "Values of black and white in images with more than 8 bits, such as 0,4095.", "Data", metavar="LOW,HIGH"
    )
    group_by: str | None = option(
        None, "Regular expression: files whose names match with the same text are never divided between splits.", "Data"
    )
    exclude: Sequence[str] = option(
        (), "Skip files whose path or name matches, such as 'ants/*.gif'; may be repeated.", "Data"
    )
    on_bad: choices.OnBad = option("skip", "Unreadable files: skip them and list them, or stop with an error.", "Data")
    balance: choices.Balance | None = option(
        None, "Class imbalance: weight the loss (weights), oversample rare classes (sampler), or none.", "Training"
    )
    patience: choices.Patience | None = option(
        None, "Early stopping: epochs without improvement on the validation images before training stops.", "Training"
    )
    keep: choices.Keep | None = option(
        None, "Weights to keep: the last, or the best by validation accuracy.", "Training"
    )
    ema: choices.Part | None = option(
        None, "Exponential moving average (EMA) of the weights: decay per step, such as 0.99.", "Training"
    )
    resize_schedule: str | Sequence[tuple[float, int]] | None = option(
        None,
        "Progressive resizing, such as 112,168@0.5: 112 pixels, then 168 from half of training on; full turns it off.",
        "Training",
    )
    freeze: choices.Share | None = option(
        None, "Fraction of training, at its start, with a frozen backbone (only the head learns).", "Training"
    )
    init: choices.Init = option("default", "Weight initialisation: PyTorch's default, or that of the paper.", "Start")
    pretrained: bool = option(False, "Start from the ImageNet weights published by torchvision or timm.", "Start")
    weights: str | Path | None = option(
        None, "Start from the weights in this file (.pth or .safetensors); see docs/sharing.md.", "Start"
    )
    micro_batches: choices.Count | None = option(
        None, "Gradient accumulation: micro-batches that each batch is split into, to save memory.", "Machine"
    )
    device: str = option("auto", "Device: auto, cpu, cuda, cuda:1 or mps.", "Machine")
    threads: choices.Count | None = option(None, "CPU threads. Default: the fastest, measured.", "Machine")
    layout: choices.Layout | None = option(
        None, "Memory layout of the weights. Default: the faster, measured.", "Machine"
    )
    precision: choices.Precision | None = option(
        None, "fp32, or bf16 (bfloat16 where it is safe). Default: fp32; on CUDA the faster, measured.", "Machine"
    )
    compile: bool = option(False, "Train with torch.compile.", "Machine")
    deterministic: bool = option(False, "Bit-identical results on CUDA too; slower.", "Machine")
    processes: choices.Count | None = option(
        None, "Processes (DDP), each with its share of every batch; see docs/scale.md.", "Machine"
    )
    data_dir: str | Path | None = option(
        None, "Folder to look for known data sets in first.", "Data", envvar="STRIATE_DATA"
    )
    judge: choices.Judge = option(
        "test", "Split for the final evaluation: test, validation or none. Only test opens the test split.", "Output"
    )
    report: bool = option(True, "Write report.html with charts at the end.", "Output")
    name: str | None = option(None, "Name of the run. Default: net and data.", "Output")
    out: str | Path = option(Path("runs"), "Folder that runs are written to.", "Output")
    log: choices.LogKind | None = option(None, "Also log to TensorBoard or MLflow; see docs/tracking.md.", "Output")

    def __post_init__(self) -> None:
        """Raises UsageError for a value of another type. Who makes settings trains, so what is imported here is needed anyway."""
        from torch import nn

        from striate.data import DataSet
        from striate.data.athand import MapStyle
        from striate.data.augmentation import Augmentation
        from striate.recipe import Recipe, ResizeSchedule

        check_fields(self, nn=nn, DataSet=DataSet, MapStyle=MapStyle, Augmentation=Augmentation, Recipe=Recipe)
        if self.resize_schedule is not None and not isinstance(self.resize_schedule, str):
            object.__setattr__(self, "resize_schedule", ResizeSchedule(self.resize_schedule))
        object.__setattr__(self, "set", _set_fields(self.set))
        recipe = self.recipe
        if isinstance(recipe, Path) or (isinstance(recipe, str) and recipe.endswith((".yaml", ".yml"))):
            object.__setattr__(self, "recipe", Recipe.load(recipe))

    def of_recipe(self) -> dict[str, Any]:
        """The fields of a recipe that are asked for, by name: those with an option of their own, and those in `set`."""
        from striate.recipe import Recipe

        own = {item.name for item in fields(Recipe)} & {item.name for item in fields(self)} - {"name"}
        asked = {name: value for name in own if (value := getattr(self, name)) is not None}
        return asked | ({} if self.augment is None else {"augmentation": self.augment}) | self._set

    @property
    def _set(self) -> dict[str, Any]:
        return dict(self.set) if isinstance(self.set, Mapping) else {}

    def as_dict(self) -> dict[str, Any]:
        """The settings in plain types, flat, as YAML and JSON take them. Raises UsageError if the net or the data was given as an
        object, which no file can hold.
        """
        for name in ("net", "data"):
            if not isinstance(getattr(self, name), str | Path):
                raise UsageError(f"{name} was given as an object, which cannot be written to a file")
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self)}

    def asked(self) -> dict[str, object] | None:
        """The settings that differ from their defaults, in plain types; None where one was given as an object of Python."""
        found = {item.name: value for item in fields(self) if (value := getattr(self, item.name)) != item.default}
        objects = [name for name in ("net", "data", "recipe") if not isinstance(found.get(name, ""), str | Path)]
        return None if objects else {name: _plain(value) for name, value in found.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """The inverse of `as_dict`; what is missing has its default. Raises UsageError for an unknown setting, or a value of
        another type or beyond its limits.
        """
        from striate.recipe import Recipe

        known = [item.name for item in fields(cls)]
        if unknown := sorted(values.keys() - set(known)):
            raise unknown_name("setting", unknown[0], known, ", ".join(known))
        recipe = values.get("recipe")
        return cls(**dict(values) | ({"recipe": Recipe.from_dict(recipe)} if isinstance(recipe, Mapping) else {}))

    def key(self) -> str:
        """A hash of what decides the result: 16 hexadecimal digits, the same in every process and version of Python.

        It covers the settings that change a bit of the weights or what they are judged by; files of weights and nets by their
        content. It leaves out the run's name and place, its report and log, where data is looked for first, and each setting that
        has its default, however it is written, so that a later setting changes no key. The content of a folder of images is not
        looked at.

        Raises:
            UsageError: the net or the data was given as an object, or a file of a net or of weights cannot be read.
        """
        import hashlib
        import json

        from striate.data.augmentation import Augmentation
        from striate.data.ranges import range_of
        from striate.recipe import ResizeSchedule, read_field

        decides = {item.name: item.default for item in fields(self) if item.name not in INDIFFERENT}
        found = {name: value for name, value in self.as_dict().items() if name in decides}
        file = str(found["net"]).rpartition(":")[0]
        for name, path in (("net", file if file.endswith(".py") else None), ("weights", found["weights"])):
            if path is not None:
                try:
                    found[f"{name} file"] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
                except OSError as error:
                    raise UsageError(f"{path} cannot be read ({error.strerror})") from None
        found["weights"] = None
        if isinstance(found["recipe"], dict):
            found["recipe"] = {name: value for name, value in found["recipe"].items() if name not in ("name", "source")}
        if Path(str(found["data"])).exists():
            found["data"] = str(Path(str(found["data"])).resolve())
        for name, kind in (("augment", Augmentation), ("resize_schedule", ResizeSchedule)):
            if isinstance(found[name], str):
                found[name] = str(kind.parse(found[name]))
        found["range"] = found["range"] and list(range_of(found["range"]) or ())
        found["exclude"] = sorted(found["exclude"])
        found["set"] = {name: _plain(read_field(name, value)) for name, value in self._set.items()}
        usual = {name: _plain(default) for name, default in decides.items()} | {"set": {}}
        kept = json.dumps({name: value for name, value in found.items() if name not in usual or value != usual[name]})
        alike = json.loads(kept, parse_int=float)  # 12 and 12.0 are the same
        return hashlib.sha256(json.dumps(alike, sort_keys=True).encode()).hexdigest()[:16]


def _set_fields(given: Sequence[str] | Mapping[str, Any]) -> Mapping[str, Any] | tuple[()]:
    """Field -> value of `set`, which has texts such as `weight-decay=5e-4`, or names and values. Raises UsageError for a text
    without a value, or a field that is a setting of its own.
    """
    if not isinstance(given, Mapping):
        if wrong := next((text for text in given if "=" not in text), None):
            raise UsageError(f"{param('set')} must be a field and its value, such as weight-decay=5e-4, got {wrong!r}")
        given = dict(text.partition("=")[::2] for text in given)
    found = {str(name).strip().replace("-", "_"): value for name, value in given.items()}
    own = {item.name: item.name for item in fields(Settings)} | {"augmentation": "augment"}
    if twin := next((own[name] for name in found if name in own), None):
        raise UsageError(f"{twin} has its own setting: use {param(twin)} instead of {param('set')}")
    return found or ()


def _plain(value: Any) -> Any:
    """A value of a setting in plain types."""
    if hasattr(value, "as_dict"):
        return value.as_dict()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if hasattr(value, "parse") or isinstance(value, Path):
        return str(value)
    if isinstance(value, numbers.Number):
        return value.item() if hasattr(value, "item") else float(value)  # type: ignore[arg-type]  # of NumPy
    return [_plain(one) for one in value]
