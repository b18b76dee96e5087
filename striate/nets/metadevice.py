"""Building nets without weights: their parameters on the meta device, no random number drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

_aten = torch.ops.aten
_FILLS = {_aten.normal_.default, _aten.uniform_.default, _aten.fill_.Scalar, _aten.zero_.default}


@contextmanager
def on_meta_device() -> Iterator[None]:
    """Nets that are built inside have their parameters on the meta device, and no random number is drawn for them."""
    with torch.device("meta"), _NoDraws():  # type: ignore[no-untyped-call]
        yield


class LightMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A dispatch mode that does not load torch's compiler, which takes a second, only to tell it to keep off."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


class _NoDraws(LightMode):  # type: ignore[no-untyped-call]
    """Filling a meta tensor changes nothing."""

    def __torch_dispatch__(
        self, func: OpOverload, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in _FILLS and args[0].is_meta:
            return args[0]
        return func(*args, **(kwargs or {}))
