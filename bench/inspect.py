"""`striate inspect NET` after the imports: seconds to build a net without weights and print all of it; the memory it takes."""

from __future__ import annotations

import resource
import statistics
import time

from bench.record import append, conditions

NETS = {"vgg16": 5, "vgg19": 5, "densenet264": 3, "resnet1202": 3}
"""Net: repeats."""


def main() -> None:
    """The first reading of a small net is not counted: it imports what the others use."""
    from striate.anatomy import inspect

    str(inspect("lenet5"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    medians = {}
    for name, repeats in NETS.items():
        seconds = []
        for _ in range(repeats):
            begin = time.perf_counter()
            str(inspect(name))
            seconds.append(time.perf_counter() - begin)
        medians[f"{name}_median_seconds"] = round(statistics.median(seconds), 3)
        if name == "vgg19":
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            medians["vgg_peak_memory_growth_mib"] = round(grown / 1024, 1)
    append("inspect", {**conditions(), **medians})


if __name__ == "__main__":
    main()
