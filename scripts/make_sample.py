"""Makes the sample that ships with the package from the official Fashion-MNIST files: its first 10,000 and 2,000 images.

python scripts/make_sample.py FOLDER-WITH-THE-FOUR-OFFICIAL-FILES
"""

import sys
from pathlib import Path

from striate.data.named import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, read_idx, write_idx

SAMPLE = Path(__file__).parents[1] / "striate" / "data" / "sample"
COUNTS = {TRAIN_IMAGES: 10_000, TRAIN_LABELS: 10_000, TEST_IMAGES: 2_000, TEST_LABELS: 2_000}


def make_sample(official: Path, target: Path = SAMPLE) -> None:
    """Writes the four files of the sample into `target`."""
    for name, count in COUNTS.items():
        write_idx(target / f"{name}.gz", read_idx(official / f"{name}.gz")[:count])


if __name__ == "__main__":
    make_sample(Path(sys.argv[1]))
