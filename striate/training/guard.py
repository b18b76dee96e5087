"""No step is taken whose loss or gradients are not finite: decided on the device, before the optimizer's step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from striate.errors import StriateError
from striate.nets.hooks import hooked
from striate.outcome import rate_to_try
from striate.training.job import Job, seed_step
from striate.training.length import Length


class NotFinite(StriateError):
    """The loss or a gradient of a step is NaN or infinite; the step was not taken."""


class Guard:
    """Looks at the loss and all gradients of a step in one pass, the one that PyTorch's GradScaler makes.

    Where the host follows the device step by step (`deferred` false), it stops before the update. Where it would have to wait
    to know, the optimizer is given the flag instead (`found_inf`, which fused optimizers read on the device): it leaves the
    weights as they are from the first such step on, and the host learns of it when it reads results anyway.

    Args:
        length: of the run; the sizes of the images depend on where in it a step lies.
        step: steps done when the loop begins.
        parts: micro-batches that a batch is computed in.
        deferred: by default on CUDA, and only with a fused optimizer.
        usual: the rate that the recipe has by itself, if it is known.
    """

    def __init__(
        self,
        job: Job,
        length: Length,
        step: int,
        parts: int = 1,
        deferred: bool | None = None,
        *,
        usual: float | None = None,
    ) -> None:
        self.job, self.length, self.parts, self.usual = job, length, parts, usual
        self.deferred = job.device.type == "cuda" if deferred is None else deferred
        self.parameters = [parameter for group in job.optimizer.param_groups for parameter in group["params"]]
        self.found = torch.zeros((), device=job.device)  # becomes 1 and stays so
        self.unscaled = torch.ones((), device=job.device)
        self.taken = torch.full((), step, dtype=torch.int64, device=job.device)
        if self.deferred:
            optimizer: Any = job.optimizer
            optimizer.found_inf = self.found

    def before_update(self, loss: Tensor, step: int) -> None:
        """To be called between backward and update of `step` (0, 1, ...), with the loss of all ranks together: their gradients
        are the same everywhere, and so is what is found. Raises NotFinite unless that is deferred.
        """
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        looked_at = [loss.detach().to(gradients[0].dtype), *gradients]
        torch._amp_foreach_non_finite_check_and_unscale_(looked_at, self.found, self.unscaled)
        if self.deferred:
            self.taken += self.found == 0
        elif self.found.item():
            self._fail(step)

    def before_reading(self) -> None:
        """To be called before anything that the steps made is read or kept: where deferred, the host waits for the device. Raises
        NotFinite if a step was not finite; neither it nor a later one changed the weights.
        """
        if self.deferred and self.found.item():
            self._fail(int(self.taken.item()))

    def _fail(self, step: int) -> NoReturn:
        epoch, recipe = step // self.job.batches.steps_per_epoch, self.job.recipe
        done = self.length.progress(step)
        what = culprit(self.job, step, self.parts, recipe.side(done))
        at, peak = recipe.rate(done), recipe.lr
        # While the rate rises, the peak has to be lower than what was too high already.
        wanted = rate_to_try(peak, self.usual, at if done < recipe.warmup else None)
        which = f"{at:.4g}" if f"{at:.4g}" == f"{peak:.4g}" else f"{at:.4g} of this step ({peak:.4g} at its highest)"
        raise NotFinite(
            f"{what} in step {step + 1} (epoch {epoch + 1}), which was not taken: the learning rate {which} is too high for "
            f"this net, try --lr {wanted:g}"
        )


def culprit(job: Job, step: int, parts: int, side: int | None = None) -> str:
    """The first non-finite value in `step`, found by computing the step again from its initial
    weights: the loss, and the first
    module whose output was not finite; or else the first parameter, on the way back, whose gradient was not.
    """
    epoch, batch = divmod(step, job.batches.steps_per_epoch)
    seed_step(job.recipe.seed, step, job.device)
    samples = job.batches.samples(epoch, batch)
    job.optimizer.zero_grad(set_to_none=True)
    with _first_not_finite(job.net) as modules:  # hooks, which only the step as it was before any compiling calls
        for part in samples.tensor_split(parts):
            loss, _ = job.step.forward(*job.batches.inputs(epoch, part, side))
            if not loss.isfinite():
                where = f", from the output of {modules[0]} on," if modules else ""
                return f"the loss is {loss.item():g}{where}"
            torch.autograd.backward(loss * (len(part) / len(samples)))
    for name, parameter in reversed(list(job.net.named_parameters())):
        if parameter.grad is not None and not parameter.grad.isfinite().all():
            return f"the gradient of {name} is not finite (the loss, {loss.item():.4g}, still is)"
    return "the loss or a gradient was not finite"


@contextmanager
def _first_not_finite(net: nn.Module) -> Iterator[list[str]]:
    """A list that gets the names of innermost modules with outputs that are not finite, in the order of computing."""
    found: list[str] = []

    def look(name: str, output: Any) -> None:
        if isinstance(output, Tensor) and not output.isfinite().all():
            found.append(name)

    with hooked(((name, module) for name, module in net.named_modules() if not list(module.children())), look):
        yield found
