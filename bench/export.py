"""Every row of the catalogue as ONNX, .pt2 and safetensors, each opened in a fresh process and compared with the net.

Weights that mean something: see tests/exporting/meaningful.py. A row a net, smallest nets first; the files are removed at once.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from bench.record import append, conditions
from striate.nets import CATALOGUE
from tests.exporting.meaningful import check_rows


def cost(name: str) -> int:
    """Orders the rows: multiplications, and weights and operations to write."""
    row = CATALOGUE[name]
    return row.macs + 40 * row.params


def main(names: Iterable[str] = ()) -> None:
    """All rows, or those named."""
    here = conditions()
    for name in names or sorted(CATALOGUE, key=cost):
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            found = check_rows([name], Path(folder))[name]
        peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        append(
            "export",
            {
                **{key: here[key] for key in ("date", "commit", "cores", "torch")},
                "net": name,
                **{f"{form}_difference": f"{comparison.difference:.1e}" for form, comparison in found.items()},
                "pictures": found["onnx"].pictures,
                "decided": found["onnx"].decided,
                "agreed": min(comparison.agreed for comparison in found.values()),
                "passed": all(comparison.passed for comparison in found.values()),
                "seconds": round(time.perf_counter() - begin, 1),
                "peak_gib_so_far": round(peak / 2**20, 2),
            },
        )


if __name__ == "__main__":
    main()
