"""A loaded classifier: a net with all that leads from an image to its class. Everything that uses a run's net is built on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from threading import Lock
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from striate.arguments import checked
from striate.data import Preprocessing
from striate.data.athand import MapStyle
from striate.data.images import Pictures, Pixels
from striate.data.inputs import ImageFolder, Picture, expanded, ledger_of, read, read_in_batches
from striate.errors import UsageError, unknown_name
from striate.inference import load_net, pictures_a_time
from striate.machine import pick_device, usable_cores, use_cores
from striate.nets import Net
from striate.nets.hooks import capture, parts_of, set_mode
from striate.outofdistribution import Features, OutOfDistribution, feature_vectors
from striate.predicting.results import NO_NUMBER, SHOWN, UNKNOWN, Prediction, Predictions
from striate.run import Run

_LOADED: WeakKeyDictionary[Run, tuple[tuple[object, ...], Classifier]] = WeakKeyDictionary()
"""Run -> (the state of its files, its classifier), for as long as the run is held."""
_LOADING = Lock()


@dataclass(frozen=True, eq=False, kw_only=True)
class Classifier(AbstractContextManager["Classifier"]):
    """A net in evaluation mode, loaded and ready; it may be called from several threads.

    Images are decoded by threads of its own, and its net computes in one further thread, a batch at a time. So the answer to a
    batch does not depend on who asks, or on who else does, down to the last bit. The threads begin with the first call;
    `close`, or the end of a `with` block, ends them, and so does dropping the classifier. Nothing of the process is changed by
    a call, and the net is put into evaluation mode once, here.

    Attributes:
        net: (N, C, H, W) -> logits (N, classes); evaluation mode, on `device`. Do not train it.
        preprocessing: what leads from an image to what the net is fed.
        classes: their names, in the order of the logits; empty for a net without a run.
        temperature: what logits are divided by before the softmax: as the run's calibration says, else 1.
        device: where the net computes.
        run: where it was loaded from, or None.
    """

    net: Net
    preprocessing: Preprocessing
    classes: tuple[str, ...] = ()
    temperature: float = 1.0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    run: Run | None = None
    _readers: ThreadPoolExecutor = field(
        init=False, repr=False, default_factory=lambda: ThreadPoolExecutor(usable_cores(), "striate-read")
    )
    # Denormal numbers are flushed thread by thread.
    _computer: ThreadPoolExecutor = field(
        init=False, repr=False,
        default_factory=lambda: ThreadPoolExecutor(1, "striate-net", torch.set_flush_denormal, (True,)),
    )  # fmt: skip

    def __post_init__(self) -> None:
        set_mode(self.net, training=False)

    @classmethod
    @checked
    def of(cls, run: Run, which: Literal["last", "best"] | None = None, device: str = "auto") -> Classifier:
        """The run's net with its preprocessing, classes and temperature.

        Torch is given all usable cores, for the whole process; calls leave that as it is then. Whoever wants another number
        calls `torch.set_num_threads` after loading and before the first call.

        Args:
            which: the weights; by default those that the run is known by: `last`, or `best` where its recipe keeps those.
            device: see `striate.machine.pick_device`.

        Raises:
            DataError: the run has no such weights, or its files are damaged.
            UsageError: the net cannot be made, or there is no such device.
        """
        chosen = pick_device(device)
        use_cores()
        return cls(
            net=load_net(run, chosen, which=which),
            preprocessing=run.preprocessing,
            classes=run.data.classes,
            temperature=run.temperature,
            device=chosen,
            run=run,
        )

    def close(self) -> None:
        """Ends its threads once they are done; it can answer nothing any more."""
        self._readers.shutdown()
        self._computer.shutdown()

    def __exit__(self, *_: object) -> None:
        self.close()

    @cached_property
    def batch_size(self) -> int:
        """Default number of images per forward pass."""
        return pictures_a_time(self.preprocessing.size, self.preprocessing.channels, self.device)

    @cached_property
    def out_of_distribution(self) -> OutOfDistribution:
        """Tells images unlike those of validation. Raises UsageError if the run has no calibration, or there is no run."""
        if self.run is None:
            raise UsageError("only the classifier of a run knows when to abstain: Classifier.of(run)")
        return OutOfDistribution(self.run)

    def logits(self, pixels: Pictures, batch_size: int | None = None) -> Tensor:
        """float32 (N, classes) on the CPU, of uint8 (N, H, W, C) at the size of `preprocessing`, a batch at a time."""
        return self._through(pixels, lambda inputs: (self.net(inputs),), batch_size)[0]

    def probabilities(self, pixels: Pictures) -> Tensor:
        """float64 (N, classes): the softmax of `logits` divided by the temperature; NaN where the net gives no number."""
        return self._softmax(self.logits(pixels))

    def features(self, pixels: Pictures, stage: str) -> Tensor:
        """The output of a stage for uint8 (N, H, W, C), on the CPU: float32 (N, K, h, w). Raises UsageError for an unknown stage.

        Args:
            stage: its name, or the path of a module inside one: `inception4a`, `inception4a.branches.conv1x1`; in an external net
                the path in its module.
        """
        parts = parts_of(self.net)
        if stage not in parts:
            raise unknown_name(f"stage in {self.net.spec.name}", stage, parts, ", ".join(self.net.stages))
        return self.watched(pixels, parts[stage], Tensor.float)[1]

    def observe(self, pixels: Pictures, batch_size: int | None = None) -> tuple[npt.NDArray[np.float32], Features]:
        """(logits (N, classes), features (N, D)) of uint8 (N, H, W, C): see `striate.outofdistribution.feature_vectors`."""
        outputs, features = self.watched(pixels, self.net.head, feature_vectors, entering=True, batch_size=batch_size)
        return outputs.numpy(), features.numpy()

    def watched(
        self,
        pixels: Pictures,
        module: nn.Module,
        take: Callable[[Any], Tensor],
        *,
        entering: bool = False,
        batch_size: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """(logits, what `take` makes of what a module gave, or of what entered it), on the CPU, image by image."""

        def forward(inputs: Tensor) -> tuple[Tensor, Tensor]:
            with capture(module, entering=entering) as kept:
                outputs = self.net(inputs)
            if not kept:
                raise UsageError(
                    f"a {type(module).__name__} of {self.net.spec.name} does not contribute to its answers"
                )
            return outputs, take(kept[-1])

        outputs, taken = self._through(pixels, forward, batch_size)
        return outputs, taken

    @checked
    def predict(
        self, images: Picture | Iterable[Picture] | MapStyle, *, top: int = 3, abstain: bool = False
    ) -> Predictions:
        """Predictions in the order of the images; one that cannot be read gets an error and the rest are still predicted.

        Args:
            images: one or several, see `Picture`: files, folders, bytes, PIL images, arrays, tensors, of any size and mode;
                or a Dataset, whose labels are left.
            top: how many of the likeliest classes to give.
            abstain: whether an image unlike those of validation gets the label `UNKNOWN`.

        Raises:
            UsageError: `abstain` without a calibration.
        """
        folders: list[ImageFolder] = []
        found, thumbnails = Predictions(), list[Pixels | None]()
        for prediction, pixels in self._predicted(expanded(images, folders), top, abstain):
            found.append(prediction)
            if len(thumbnails) < SHOWN:
                thumbnails.append(pixels)
        unreadable = {prediction.picture: prediction.error for prediction in found if prediction.error is not None}
        return Predictions(found, thumbnails, ledger_of(folders, unreadable))

    def predict_many(
        self, images: Iterable[Picture] | MapStyle, *, top: int = 3, abstain: bool = False
    ) -> Iterator[Prediction]:
        """As `predict`, one prediction after the other, in constant memory however many the images are."""
        return (prediction for prediction, _ in self._predicted(expanded(images), top, abstain))

    def read(self, image: Picture) -> Pixels:
        """uint8 (H, W, C): what the net is fed for an image. Raises DataError if it cannot be read."""
        return read(self.preprocessing, image)

    def decoded(self, images: Picture | Iterable[Picture]) -> Iterator[list[tuple[str, Pixels | str]]]:
        """(name, what the net is fed, uint8 (H, W, C), or why there is nothing) of each image, in batches."""
        # On the CPU decoding and net would take each other's cores, and the net's threads wait for each other at every step.
        ahead = 0 if self.device.type == "cpu" else 1
        return read_in_batches(self._readers, expanded(images), self.preprocessing, self.batch_size, ahead)

    def _through(
        self, pixels: Pictures, forward: Callable[[Tensor], tuple[Tensor, ...]], batch_size: int | None
    ) -> tuple[Tensor, ...]:
        """The output of `forward` for inputs (n, C, H, W), batch by batch in the thread of the net, put together on the CPU."""
        each = batch_size or self.batch_size
        wanted = (*self.preprocessing.size, self.preprocessing.channels)

        def compute(part: Pixels) -> tuple[Tensor, ...]:
            if part.dtype != np.uint8 or part.shape[1:] != wanted:
                raise UsageError(
                    f"pixels must be uint8 (N, {', '.join(map(str, wanted))}), got {part.dtype} {part.shape}: predict() takes "
                    "images of any size"
                )
            # Not inference mode: what a net keeps from its first call must serve where gradients are wanted too.
            with torch.no_grad():
                return tuple(found.cpu() for found in forward(self.preprocessing.tensor(part).to(self.device)))

        starts = range(0, len(pixels), each)
        parts = [self._computer.submit(compute, pixels[start : start + each]).result() for start in starts]
        if not parts:
            return torch.empty(0, len(self.classes)), torch.empty(0)
        return tuple(torch.cat(found) for found in zip(*parts, strict=True))

    def _softmax(self, outputs: Tensor) -> Tensor:
        return (outputs.double() / self.temperature).softmax(1)

    def _predicted(
        self, images: Iterable[Picture], top: int, abstain: bool
    ) -> Iterator[tuple[Prediction, Pixels | None]]:
        """Predictions in the order of the images, each with what the net was fed. What cannot be is raised at once."""
        unlike = self.out_of_distribution if abstain else None

        def each() -> Iterator[tuple[Prediction, Pixels | None]]:
            for found in self.decoded(images):
                pixels = [image for _, image in found if not isinstance(image, str)]
                answers = iter(self._answers(np.stack(pixels), top, unlike) if pixels else ())
                for name, image in found:
                    if isinstance(image, str):
                        yield Prediction(picture=name, error=image), None
                    else:
                        yield replace(next(answers), picture=name), image

        return each()

    def _answers(self, pixels: Pixels, top: int, unlike: OutOfDistribution | None) -> Iterator[Prediction]:
        """Predictions, not named yet, of uint8 (N, H, W, C)."""
        known: list[bool] | list[None] = [None] * len(pixels)
        if unlike is None:
            outputs = self.logits(pixels)
        else:
            found, features = self.observe(pixels)
            outputs = torch.from_numpy(found)
            numbers = np.isfinite(found).all(1, keepdims=True)
            # Features of what is no number are compared with nothing.
            known = unlike.known(np.where(numbers, found, 0), np.where(numbers, features, 0)).tolist()
        values, indices = self._softmax(outputs).topk(min(max(1, top), len(self.classes)))
        answered = outputs.isfinite().all(1).tolist()
        for number, like, places, shares in zip(answered, known, indices.tolist(), values.tolist(), strict=True):
            if not number:
                yield Prediction(picture="", error=NO_NUMBER)
                continue
            best = tuple((self.classes[place], value) for place, value in zip(places, shares, strict=True))
            label = UNKNOWN if like is False else best[0][0]
            yield Prediction(picture="", label=label, confidence=best[0][1], top=best, known=like)


def loaded(run: Run, device: str = "auto") -> Classifier:
    """The run's classifier, which stays loaded with the run: made anew only if its files or the device changed."""
    files = [*run.path.glob("weights/*.safetensors"), *run.path.glob("calibration.*")]
    stamp = (device, *((file.name, file.stat().st_mtime_ns) for file in files if file.is_file()))
    with _LOADING:
        if run not in _LOADED or _LOADED[run][0] != stamp:
            _LOADED[run] = (stamp, Classifier.of(run, device=device))
        return _LOADED[run][1]


@checked
def predict(
    run: Run, pictures: Iterable[Picture] | MapStyle, *, top: int = 3, abstain: bool = False, device: str = "auto"
) -> Predictions:
    """`Classifier.predict` of a finished run, whose net stays loaded until the run's files change.

    Args:
        run to abstain: see `Classifier.predict`.
        device: see `striate.machine.pick_device`.

    Raises:
        DataError: the run has no weights, or its files are damaged.
        UsageError: `abstain` for a run without calibration; the net cannot be made; there is no such device.
    """
    return loaded(run, device).predict(pictures, top=top, abstain=abstain)
