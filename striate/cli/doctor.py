"""striate doctor"""

from __future__ import annotations

from striate.cli.options import DataDir


class Doctor(DataDir):
    """Check this machine: versions, devices, cores, speed, data sets found."""

    def __call__(self) -> None:
        from striate.data.named import NAMED, find
        from striate.machine import environment, pick_device, sgemm_gflops, use_cores

        use_cores()
        found = {name: find(row, self.data_dir) for name, row in NAMED.items()}
        known, speed = environment(pick_device("auto")), round(sgemm_gflops(), 1)
        places = {name: place and str(place) for name, place in found.items()}
        sets = {f"data {name}": place or "not on this machine" for name, place in found.items()}
        self.show(
            {**known, "sgemm_gflops": speed, "data": places},
            {**known, "SGEMM": f"{speed} GFLOP/s (float32, 2048 x 2048)", **sets},
        )
