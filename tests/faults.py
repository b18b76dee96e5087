"""Real faults for commands: a warm process that has everything imported forks one for each command, and lays on it closed
streams, limits of the system, another user, and signals. Run as a program it is that process."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NOBODY = 65534


@dataclass
class Ended:
    """How a command ended: its exit code, minus the signal's number where one killed it, and what it printed."""

    code: int
    out: str
    err: str


class _Pipe:
    """A named pipe, read by a thread: unlike a file it is out of reach of limits on files."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path, 0o666)
        path.chmod(0o666)
        self.name, self.over = str(path), False
        self.parts: list[bytes] = []
        self.handle = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        while True:
            last = self.over
            if select.select([self.handle], [], [], 0.02)[0]:
                self.parts.append(os.read(self.handle, 65536))
            elif last:
                return

    def text(self) -> str:
        """All of it; the writer has ended."""
        self.over = True
        self.thread.join()
        os.close(self.handle)
        Path(self.name).unlink()
        return b"".join(self.parts).decode(errors="replace")


class Warm:
    """The warm process, as tests use it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.orders, self.answers = self.process.stdin, self.process.stdout

    @contextmanager
    def running(self, *arguments: object, cwd: Path, **faults: object) -> Iterator[tuple[int, Callable[[], Ended]]]:
        """A command under `faults`; gives (pid, end), and `end()` waits and gives how it ended.

        Faults: `limits`, name of a limit without RLIMIT_ -> value, where AS is added to what the process has; `closed`, numbers
        of descriptors; `env`; `uid`; `stdout` and `stderr`, files that take what is printed.
        """
        self.count += 1
        pipes = [_Pipe(self.folder / f"{self.count}.{name}") for name in ("out", "err")]
        order = {"argv": [str(part) for part in arguments], "cwd": str(cwd), "out": pipes[0].name, "err": pipes[1].name}
        print(json.dumps(order | faults), file=self.orders, flush=True)
        pid, ended = int(self.answers.readline()), list[Ended]()

        def end() -> Ended:
            if not ended:
                code = os.waitstatus_to_exitcode(int(self.answers.readline()))
                ended.append(Ended(code, *(pipe.text() for pipe in pipes)))
            return ended[0]

        try:
            yield pid, end
        finally:
            end()

    def __call__(self, *arguments: object, cwd: Path, **faults: object) -> Ended:
        with self.running(*arguments, cwd=cwd, **faults) as (_, end):
            return end()

    def close(self) -> None:
        self.orders.close()
        self.process.wait(timeout=60)
        self.answers.close()


def until(holds: Callable[[], object], seconds: float = 60.0) -> None:
    """Waits until `holds()`."""
    give_up = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < give_up, "it never came to that"
        time.sleep(0.005)


def _serve() -> None:
    import statistics  # noqa: F401  # which the report loads, and another user may not be allowed to read

    from striate.cli import main
    from striate.explaining import look  # noqa: F401
    from striate.report import card, charts, html  # noqa: F401  # another user may not read what is not there yet

    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _be(order, main)
        print(pid, flush=True)
        print(os.waitpid(pid, 0)[1], flush=True)


def _be(order: dict[str, Any], main: Callable[[list[str]], None]) -> None:
    """What the child does; never returns."""
    import resource
    import traceback

    for descriptor, name in ((0, None), (1, order.get("stdout", order["out"])), (2, order.get("stderr", order["err"]))):
        file = os.open(name or os.devnull, os.O_RDWR)
        os.dup2(file, descriptor)
        os.close(file)
    os.chdir(order["cwd"])
    os.environ.update(order.get("env", {}))
    for name in ("stdin", "stdout", "stderr"):
        setattr(sys, name, None)
    for descriptor, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if descriptor in order.get("closed", ()):
            os.close(descriptor)
        else:
            encoding = order.get("encoding", "utf-8")
            errors = "backslashreplace" if name == "stderr" else "strict"
            setattr(sys, name, open(descriptor, mode, encoding=encoding, errors=errors, closefd=False))  # noqa: SIM115
    if "uid" in order:
        os.setgid(order["uid"])
        os.setuid(order["uid"])
    for name, value in order.get("limits", {}).items():
        if name == "AS":
            value += int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
    code = 0
    try:
        main(order["argv"])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except BaseException:
        traceback.print_exc()
        code = 1
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except Exception as error:  # as the interpreter does when it ends
            code = 120
            print(f"Exception ignored: {error!r}", file=sys.stderr)
    os._exit(code)


if __name__ == "__main__":
    _serve()
