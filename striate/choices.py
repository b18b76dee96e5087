"""The words that options take, as types: said once, for the library, the command line and the checks of both."""

from __future__ import annotations

from typing import Literal

Fit = Literal["crop", "pad", "squash"]
OnBad = Literal["skip", "stop"]
Init = Literal["default", "paper"]
Balance = Literal["none", "weights", "sampler"]
Keep = Literal["last", "best"]
Optimizer = Literal["adamw", "adam", "sgd"]
Schedule = Literal["one-cycle", "constant", "step"]
Layout = Literal["nchw", "nhwc"]
Precision = Literal["fp32", "bf16"]
LogKind = Literal["tensorboard", "mlflow"]
