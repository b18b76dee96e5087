"""Every row of the catalogue as ONNX, .pt2 and safetensors, each opened in a fresh process and compared with the net.

Weights that mean something: see tests/exporting/meaningful.py. Smallest nets first, some of them at a time; the files are removed
at once. `seconds` are of writing.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.record import append, conditions
from striate.nets import CATALOGUE
from tests.exporting.meaningful import check_rows

TOGETHER = 6
"""Nets that share two fresh processes, which take seconds to start."""


def cost(name: str) -> int:
    """Orders the rows: multiplications, and weights to write."""
    row = CATALOGUE[name]
    return row.macs + 40 * row.params


def main(*names: str) -> None:
    """All rows, or those named."""
    here = conditions()
    rows = names or sorted(CATALOGUE, key=cost)
    for start in range(0, len(rows), TOGETHER):
        with tempfile.TemporaryDirectory() as folder:
            found = check_rows(rows[start : start + TOGETHER], Path(folder))
        for name, forms in found.items():
            for form, (comparison, size, seconds) in forms.items():
                append(
                    "export",
                    {
                        **{key: here[key] for key in ("date", "commit", "cores", "torch")},
                        "net": name,
                        "form": form,
                        "difference": f"{comparison.difference:.1e}",
                        "pictures": comparison.pictures,
                        "decided": comparison.decided,
                        "agreed": comparison.agreed,
                        "passed": comparison.passed,
                        "megabytes": round(size / 1e6, 2),
                        "seconds": round(seconds, 1),
                    },
                )


if __name__ == "__main__":
    main()
