"""The rows of the catalogue, a file a family: facts only. What they build stands in `striate/nets/<family>.py`."""

from __future__ import annotations

from striate.nets.netspec import NetSpec
from striate.nets.rows import alexnet, densenet, googlenet, lenet, nin, preresnet, resnet, vgg

ROWS: tuple[NetSpec, ...] = (
    *lenet.ROWS,
    *alexnet.ROWS,
    *vgg.ROWS,
    *nin.ROWS,
    *googlenet.ROWS,
    *resnet.ROWS,
    *preresnet.ROWS,
    *densenet.ROWS,
)
