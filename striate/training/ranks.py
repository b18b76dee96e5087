"""Ranks: processes that train one net, each on its share of every batch; DistributedDataParallel averages their gradients.

The batch stays what it is in one process, and each draw is a hash of (seed, epoch, sample): a rank takes a slice and knows the
rest. Rank 0 decides what is measured or depends on the time, writes, and speaks. Tensors on the CPU go through gloo, those on a
GPU through NCCL; the small ones that keep the ranks in step are on the CPU, so that no host waits for a GPU.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from striate.errors import Interrupted, Signalled, StriateError, UsageError, param
from striate.events import Event
from striate.machine import hearing, leave, pick_device
from striate.training.audience import Audience
from striate.training.signals import catching, pass_on

WAIT = timedelta(hours=2)
"""How long ranks wait for each other: one may have to decode a large set for the pixel cache first."""
GRACE_SECONDS = 30.0
"""Time for the others to end by themselves when one has failed; torchrun gives as much."""

POLL_SECONDS = 0.1
"""Between two looks at what rank 0 has sent, where another process started it."""

GO_ON = "If training had started, resume it from its last checkpoint with: striate train --resume RUN"

Result = TypeVar("Result")
Outcome = tuple[list[Result], StriateError | None]
"""The result of a function, or its exception."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """One process among those that train together. From `together` on the methods are collective: all ranks call them, in the
    same order; a process that is alone gets its own values back.

    Attributes:
        rank, count: its number, and how many there are; local, local_count: the same, of this machine only.
        rendezvous: where they meet, as `torch.distributed.init_process_group` takes it.
    """

    rank: int = 0
    count: int = 1
    local: int = 0
    local_count: int = 1
    rendezvous: str = "env://"

    @classmethod
    def here(cls) -> Ranks:
        """The rank of this process by torchrun's environment variables; a single rank without them."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        said = [int(os.environ[name]) for name in names if name in os.environ]
        return cls(said[0], said[1], said[2], said[3]) if len(said) == len(names) else ALONE

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which writes and tells."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """This rank's part of `count` things in a row: each has one owner, and the parts differ by at most one in size."""
        return slice(count * self.rank // self.count, count * (self.rank + 1) // self.count)

    def device(self, wanted: str) -> torch.device:
        """The device of this rank: one of several has a GPU of its own, that of its local number. Raises UsageError if there is
        no such device, or too few of them.
        """
        if self.count > 1 and wanted == "auto" and not torch.cuda.is_available():
            wanted = "cpu"
        device = torch.device(pick_device(wanted))
        if self.count == 1 or device.type == "cpu":
            return device
        if device.type == "mps" or ":" in wanted:
            raise UsageError(
                f"{self.count} ranks cannot share {wanted}: use {param('device', 'cuda')}, with one GPU each, or cpu"
            )
        if self.local_count > (there := torch.cuda.device_count()):
            raise UsageError(
                f"{self.local_count} ranks on one machine need one GPU each, but it has {there}: start {there}, or "
                f"use {param('device', 'cpu')}"
            )
        device = torch.device("cuda", self.local)
        torch.cuda.set_device(device)
        return device

    def together(self, make: Callable[[], Result]) -> Result:
        """The result of `make()`, called by every
        rank. If one of them raises a StriateError, all do: the first one's."""
        if self.count == 1:
            return make()
        outcome = _tried(make)
        errors: list[Any] = [None] * self.count
        dist.all_gather_object(errors, outcome[1])
        return _result((outcome[0], next(filter(None, errors), None)))

    def decided(self, make: Callable[[], Result]) -> Result:
        """The result of `make()`, called by rank 0 only. A StriateError is raised by all ranks."""
        if self.count == 1:
            return make()
        outcomes: list[Outcome[Result]] = [_tried(make) if self.first else ([], None)]
        dist.broadcast_object_list(outcomes, src=0)
        return _result(outcomes[0])

    def agree(self, *values: int) -> list[int]:
        """The greatest of each of these over all ranks."""
        if self.count == 1:
            return list(values)
        tensor = torch.tensor(values)
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return [int(value) for value in tensor]

    def summed(self, tensor: Tensor) -> Tensor:
        """The sum of a tensor over all ranks, the same bits at each."""
        if self.count == 1:
            return tensor
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    def gathered(self, tensor: Tensor) -> Tensor:
        """(count, ...): the tensor (...) of each rank."""
        parts = [tensor.clone() for _ in range(self.count)]
        if self.count > 1:
            dist.all_gather(parts, tensor)
        return torch.stack(parts)

    def parallel(self, step: nn.Module) -> Any:
        """The module that gives a rank's loss, wrapped: its gradients become the means over all ranks. Batch norm sees the whole
        batch on GPUs; on the CPU, for which PyTorch has no such norm, the rank's share, and rank 0's running statistics hold.
        """
        if self.count == 1:
            return step
        if next(step.parameters()).is_cuda:
            step = nn.SyncBatchNorm.convert_sync_batchnorm(step)  # type: ignore[no-untyped-call]
        # An external net may have parameters that get no gradient. And without the search for them DDP lays out its buckets
        # anew after the first step, and with them the order of its sums: a resumed run would differ in the last bits. It warns
        # where it finds none, so there is one.
        step.register_parameter("unused", nn.Parameter(next(step.parameters()).new_zeros(())))
        return nn.parallel.DistributedDataParallel(step, find_unused_parameters=True)

    def held_back(self, step: nn.Module, more: bool) -> AbstractContextManager[None]:
        """Inside, `parallel`'s module keeps its gradients to itself if `more` of the batch follows: they are averaged once."""
        wrapped: Any = step
        return wrapped.no_sync() if self.count > 1 and more else nullcontext()

    def same_buffers(self, net: nn.Module) -> None:
        """Gives a net's buffers, such as the running statistics of batch norm, the values that rank 0 has."""
        if self.count > 1:
            for buffer in net.buffers():
                dist.broadcast(buffer, src=0)


ALONE = Ranks()


def spread(processes: int | None, work: Callable[..., Result], audience: Audience, *given: Any) -> Result:
    """What `work(ranks, audience, *given)` gives: here; in each rank that torchrun started; or at rank 0 of `processes` started
    here.

    Those are new interpreters, to which `work` and what is given are pickled. Signals to this process and requests to stop go on
    to them; the events of rank 0 come here, to the audience.

    Raises:
        UsageError: there are ranks already, or fewer than one is asked for.
        StriateError: rank 0 raised it, or a rank was lost.
    """
    ranks = Ranks.here()
    if processes is not None and processes < 1:
        raise UsageError(f"processes must be at least 1, got {processes}")
    if processes is not None and ranks.count > 1:
        raise UsageError(f"{ranks.count} ranks were already started by torchrun: leave out {param('processes')}")
    if processes is not None and processes > 1:
        return _result(_started(processes, audience, work, given))
    with joined(ranks):
        return work(ranks, audience if ranks.first else Audience(None, audience.stop), *given)


@contextmanager
def joined(ranks: Ranks) -> Iterator[None]:
    """Joins the other ranks, and leaves them. Raises StriateError if one of them was lost."""
    if ranks.count == 1:
        yield
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    try:
        store, rank, count = next(rendezvous(ranks.rendezvous, ranks.rank, ranks.count, timeout=WAIT))
        if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
            # That one outlives a restart, with the addresses of ranks that are gone.
            store = PrefixStore(f"restart {os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
        dist.init_process_group(backend, store=store, timeout=WAIT, world_size=count, rank=rank)
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        raise StriateError(f"rank {ranks.rank} of {ranks.count} lost another rank, which failed. {GO_ON}") from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _tried(make: Callable[[], Result]) -> Outcome[Result]:
    try:
        return [make()], None
    except StriateError as error:
        return [], error


def _result(outcome: Outcome[Result]) -> Result:
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0][0]


def _started(count: int, audience: Audience, work: Callable[..., Result], given: tuple[Any, ...]) -> Outcome[Result]:
    """Runs the ranks in processes of this machine, which meet in a file: no port is opened. Gives rank 0's `_tried`."""
    from torch.multiprocessing import get_context
    from torch.multiprocessing.spawn import ProcessException, start_processes

    receiver, sender = get_context("spawn").Pipe(duplex=False)
    outcomes: list[Outcome[Result]] = []
    asked, failed = False, None
    with tempfile.TemporaryDirectory() as folder:
        arguments = (count, f"file://{folder}/ranks", sender, work, given)
        processes: Any = start_processes(_be_rank, arguments, count, join=False)  # type: ignore[no-untyped-call]
        sender.close()
        with catching(audience.stop, processes.pids()):
            try:
                while not processes.join(timeout=POLL_SECONDS, grace_period=GRACE_SECONDS):
                    _hear(receiver, audience, outcomes)
                    if audience.stop.signal is not None and not asked:
                        asked = True
                        pass_on(audience.stop.signal, processes.pids())
            except ProcessException as error:
                failed = error
            _hear(receiver, audience, outcomes)
    if outcomes and failed is None:
        return outcomes[0]
    if audience.stop.signal is not None:  # without an outcome: before there was anything to save
        raise Interrupted(f"the ranks were stopped. {GO_ON}", audience.stop.exit_code) from failed
    raise StriateError(*f"a rank failed: {failed or 'it gave no result'}".splitlines(), GO_ON) from failed


def _hear(receiver: Connection, audience: Audience, outcomes: list[Outcome[Any]]) -> None:
    """Takes what rank 0 has sent so far: events, and at the end its outcome."""
    with suppress(EOFError):
        while receiver.poll():
            sent = receiver.recv()
            if isinstance(sent, Event):
                audience(sent)
            else:
                outcomes.append(sent)


def _be_rank(
    rank: int, count: int, rendezvous: str, sender: Connection, work: Callable[..., Any], given: tuple[Any, ...]
) -> None:
    if hasattr(os, "setpgrp"):  # Ctrl-C reaches the process that a person started, which passes it on, once
        os.setpgrp()
    for name in {"lo", "lo0"}.intersection(name for _, name in socket.if_nameindex()):  # for nobody else to connect to
        os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
        os.environ.setdefault("NCCL_SOCKET_IFNAME", name)

    def send(event: Event) -> None:  # training goes on where nobody hears it any more
        with suppress(OSError):
            sender.send(event)

    ranks = Ranks(rank, count, rank, count, rendezvous)
    audience = Audience([send] if ranks.first else None)
    outcome: Outcome[Any]
    try:
        with hearing():
            outcome = _tried(lambda: joined(ranks)(work)(ranks, audience, *given))
    except Signalled as error:
        outcome = [], Interrupted(f"the ranks were stopped by {error.name}. {GO_ON}", 128 + error.number)
    if ranks.first:  # which has the error of another rank too, or lost that one
        sender.send(outcome)
    leave(0)
