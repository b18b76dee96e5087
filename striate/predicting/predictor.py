"""The pipeline from pictures to predictions: decoded by threads, a batch at a time, then through the net."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from striate.data import Preprocessing
from striate.data.images import Pixels
from striate.data.pictures import Picture, expanded, name_of, read
from striate.errors import DataError
from striate.evaluation.calibration import Strangers, observe, temperature_of
from striate.inference import load_net, logits, pictures_a_time
from striate.machine import pick_device, usable_cores, use_cores
from striate.predicting.results import NO_NUMBER, UNKNOWN, Prediction
from striate.run import Run


class Seen(NamedTuple):
    """A prediction, and the uint8 (H, W, C) that the net was fed for it; None if the picture could not be read."""

    prediction: Prediction
    pixels: Pixels | None


class Predictor:
    """A run's net, loaded and ready.

    Raises:
        DataError: the run has no weights, or they are damaged.
        UsageError: the net cannot be made, or there is no such device.
    """

    def __init__(self, run: Run, device: str = "auto") -> None:
        self.device = pick_device(device)
        use_cores()
        self.net = load_net(run, self.device)
        self.preprocessing = Preprocessing.from_dict(run.config["preprocessing"])
        self.classes: tuple[str, ...] = tuple(run.data["classes"])
        self.temperature = temperature_of(run)
        # On the CPU decoding and net would take each other's cores, and the net's threads wait for each other at every step.
        self.ahead = 0 if self.device.type == "cpu" else 1
        self.batch = pictures_a_time(self.preprocessing.size, self.preprocessing.channels, self.device)

    def predict(self, pictures: Iterable[Picture], top: int, strangers: Strangers | None) -> Iterator[Seen]:
        """In the order of the pictures; no more than a batch or two of them are held at a time."""
        for found in self.decoded(pictures):
            pixels = [picture for _, picture in found if not isinstance(picture, str)]
            told = iter(self._answers(np.stack(pixels), top, strangers) if pixels else ())
            for name, picture in found:
                if isinstance(picture, str):
                    yield Seen(Prediction(picture=name, error=picture), None)
                else:
                    answer = next(told)
                    if answer is None:
                        yield Seen(Prediction(picture=name, error=NO_NUMBER), picture)
                        continue
                    best, known = answer
                    label = UNKNOWN if known is False else best[0][0]
                    prediction = Prediction(picture=name, label=label, confidence=best[0][1], top=best, known=known)
                    yield Seen(prediction, picture)

    def decoded(self, pictures: Iterable[Picture]) -> Iterator[list[tuple[str, Pixels | str]]]:
        """(name, pixels or why there are none) of each picture, in batches."""
        return decoded(
            expanded(pictures), lambda picture: read(self.preprocessing, picture), self.batch, ahead=self.ahead
        )

    def _answers(
        self, pixels: Pixels, top: int, strangers: Strangers | None
    ) -> list[tuple[tuple[tuple[str, float], ...], bool | None] | None]:
        """(the likeliest classes with their probabilities, whether it is known) of each of uint8 (N, H, W, C); None of one for
        which the net gives something that is no number.
        """
        known: list[bool] | list[None] = [None] * len(pixels)
        if strangers is None:
            outputs = logits(self.net, self.preprocessing, pixels, self.device)
        else:
            found, features = observe(self.net, self.preprocessing, pixels, self.device)
            outputs = torch.from_numpy(found)
            numbers = np.isfinite(found).all(1, keepdims=True)
            # Features of what is no number are compared with nothing.
            known = strangers.known(np.where(numbers, found, 0), np.where(numbers, features, 0)).tolist()
        answered = outputs.isfinite().all(1)
        probabilities = (outputs.double() / self.temperature).softmax(1)
        values, indices = probabilities.topk(min(max(1, top), len(self.classes)))
        best = (
            tuple((self.classes[place], value) for place, value in zip(places, shares, strict=True))
            for places, shares in zip(indices.tolist(), values.tolist(), strict=True)
        )
        told = zip(best, known, answered.tolist(), strict=True)
        return [(classes, like) if number else None for classes, like, number in told]


def decoded(
    pictures: Iterable[Picture], reader: Callable[[Picture], Pixels], size: int, ahead: int
) -> Iterator[list[tuple[str, Pixels | str]]]:
    """(name, pixels or why there are none) of each picture, `size` at a time, by a thread a core.

    Args:
        ahead: how many batches are decoded while one is worked on.
    """

    def one(name: str, picture: Picture) -> tuple[str, Pixels | str]:
        try:
            return name, reader(picture)
        except DataError as error:
            return name, str(error).removeprefix(f"{name}: ").removeprefix("the picture: ")

    def submit(number: int, picture: Picture) -> Future[tuple[str, Pixels | str]]:
        name = name_of(number, picture)
        if not isinstance(picture, Image.Image):
            return pool.submit(one, name, picture)
        # One PIL picture may be given twice, and it cannot be loaded by two threads at once.
        ready: Future[tuple[str, Pixels | str]] = Future()
        ready.set_result(one(name, picture))
        return ready

    numbered = enumerate(pictures, start=1)
    with ThreadPoolExecutor(usable_cores()) as pool:
        begun: deque[list[Future[tuple[str, Pixels | str]]]] = deque()
        while batch := [submit(number, picture) for number, picture in islice(numbered, size)]:
            begun.append(batch)
            if len(begun) > ahead:
                yield [future.result() for future in begun.popleft()]
        for batch in begun:
            yield [future.result() for future in batch]
