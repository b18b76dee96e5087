"""Random folders and tables of images as people have them, with the truth of each: a function of the seed.

An image has one colour, which tells its class, so that what was loaded says for itself what it is.
"""

import csv
import io
import os
import random
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

CLASSES = ("cat", "dog", "café", "猫", "n01440764", "red fox", "train_station", "Ente")
COLOURS = {name: (30 * place + 10, 255 - 25 * place, 60 * (place % 4)) for place, name in enumerate(CLASSES)}
FORMATS = {
    ".png": "PNG",
    ".JPG": "JPEG",
    ".bmp": "BMP",
    ".ppm": "PPM",
    ".webp": "WEBP",
    "": "PNG",
    ".tga": "TGA",
    ".dat": "PNG",
}
STYLES = (
    {"train": "train", "test": "test"},
    {"train": "Train", "validation": "Val", "test": "Test"},
    {"train": "training_set", "test": "test_set"},
    {"train": "seg_train/seg_train", "test": "seg_test/seg_test"},
    {"train": "train/images", "validation": "valid/images"},
    {"train": "flowers-train", "validation": "flowers-dev", "test": "flowers-test"},
    {"train": "TRAINING"},
)
JUNK = (".DS_Store", "Thumbs.db", "desktop.ini", "._a.png", ".git/config", "__MACOSX/._x.png")
OTHERS = ("notes.txt", "a.xml", "labels.json", "more.zip", "clip.mp4", "README")


@dataclass
class Truth:
    """What is in the folder.

    Attributes:
        pictures: path -> (split, class) of those that are to be used; the split is None where the set has no splits.
        fates: how many entries have another fate; folders are not among them.
        cut: the files that cannot be read.
        linked: entries behind links, which a walk that follows none does not see.
    """

    pictures: dict[str, tuple[str | None, str]] = field(default_factory=dict)
    fates: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("excluded", "unreadable", "other"), 0))
    linked: int = 0
    cut: list[Path] = field(default_factory=list)
    exclude: list[str] = field(default_factory=list)


def save(path: Path, label: str, form: str = "PNG") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), COLOURS[label]).save(path, form)


def write_tree(root: Path, seed: int) -> Truth:
    """Makes a folder that can only be meant in one way."""
    draw = random.Random(seed)
    truth = Truth()
    base = root.joinpath(*draw.sample(["dataset", "flowers", "v2"], draw.choice((0, 0, 1, 2))))
    style = draw.choice((None, None, *STYLES))
    classes = draw.sample(CLASSES, draw.randint(2, 4))
    places: dict[str | None, Path] = {split: base / name for split, name in (style or {}).items()} or {None: base}
    for split, place in places.items():
        for label in classes:
            _fill_class(place / label, split, label, draw, truth, root)
    folders = [Path(folder) for folder, _, _ in os.walk(root)]
    above = [folder for folder in folders if not set(folder.relative_to(root).parts) & set(classes)]
    for _ in range(draw.randint(0, 4)):
        put(draw.choice(folders) / draw.choice(JUNK))
    for _ in range(draw.randint(0, 4)):
        path = draw.choice(folders) / draw.choice(OTHERS)
        truth.fates["other"] += not path.exists()
        put(path)
    if draw.random() < 0.3:
        save(places[next(iter(places))] / "sheet.png", classes[0])
        truth.fates["other"] += 1
    if draw.random() < 0.4:
        (draw.choice(folders) / "loop").symlink_to(root)
    if draw.random() < 0.4:
        _link_outside(root, next(iter(places.values())) / classes[0], next(iter(places)), classes[0], truth)
    if draw.random() < 0.3:
        put(draw.choice(above) / "annotations" / "0.xml")
        truth.fates["other"] += 2
    return truth


def put(path: Path, content: bytes = b"some words, and no image\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _fill_class(folder: Path, split: str | None, label: str, draw: random.Random, truth: Truth, root: Path) -> None:
    for number in range(draw.randint(3, 5)):
        ending = draw.choice(list(FORMATS))
        inner = folder / draw.choice(("", "", "2019", "a b/c\nd"))
        path = inner / f"{draw.choice(('img', 'Bild ', 'x.y', '#'))}{number}{ending}"
        save(path, label, FORMATS[ending])
        if number > 1 and draw.random() < 0.2:
            target = draw.choice(("cut", "mask", "drop", "gone"))
            if target == "cut":
                path.write_bytes(path.read_bytes()[:20])
                truth.fates["unreadable"] += 1
                truth.cut.append(path)
                continue
            if target == "mask":
                save(path.with_name(f"{path.stem}_mask.png"), label)
                truth.fates["other"] += 1
            elif target == "drop":
                save(path.with_name(f"drop-{number}.png"), label)
                truth.fates["excluded"] += 1
                truth.exclude = ["drop-*.png"]
            else:
                path.with_name(f"gone{number}.png").symlink_to("nowhere.png")
                truth.fates["unreadable"] += 1
        truth.pictures[str(path)] = (split, label)


def _link_outside(root: Path, folder: Path, split: str | None, label: str, truth: Truth) -> None:
    """A link in a class to a folder elsewhere, and one to the same folder again."""
    elsewhere = root.with_name(f"{root.name}-elsewhere")
    save(elsewhere / "linked.png", label)
    (folder / "zz-more").symlink_to(elsewhere)
    (folder / "zz-twice").symlink_to(elsewhere)
    truth.pictures[str(folder / "zz-more" / "linked.png")] = (split, label)
    truth.linked += 1


def write_table(folder: Path, seed: int) -> tuple[Path, dict[str, tuple[str | None, str]], dict[str, int]]:
    """Makes a table with its images; gives (table, path -> (split, class) of those to be used, rows with another fate)."""
    draw = random.Random(seed)
    classes = draw.sample(CLASSES, draw.randint(2, 4))
    encoding = draw.choice(("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "gb18030"))
    if encoding == "gb18030":
        classes = ["cat", "猫", *draw.sample(["dog", "Ente"], 1)]
    styles = ("plain", "windows", "elsewhere", "deeper", "ids")
    style = draw.choice(styles[: 4 if encoding == "gb18030" else 5])  # this one letter could be UTF-8 but for the files
    splits = draw.choice((None, ("train", "test"), ("Training", "VAL", "testing")))
    header = [draw.choice(("path", "file_name", "Image")), draw.choice(("label", "class", "Category"))]
    header += ["split"] * (splits is not None)
    header += ["width"] * (spare := draw.random() < 0.3)
    rows, truth = [], {}
    known = {"train": "train", "training": "train", "val": "validation", "test": "test", "testing": "test"}
    for number in range(4 * len(classes) * (len(splits) if splits else 1)):
        label = classes[number % len(classes)]
        split = splits[number // len(classes) % len(splits)] if splits else None
        path = folder / "img" / (label if style != "ids" else "all") / f"p{number}.png"
        save(path, label)
        name = path.relative_to(folder).as_posix()
        written = {
            "plain": name,
            "windows": name.replace("/", "\\"),
            "elsewhere": f"/home/ana/pics/{name}",
            "ids": path.stem,
            "deeper": f"data/{name}",
        }[style]
        pad = " " * draw.randint(0, 1)
        rows.append([written + pad, label + pad, *([split] if split else []), *(["8"] if spare else [])])
        truth[str(path)] = (known[split.lower()] if split else None, label)
    fates = {"other": 0, "unreadable": 0, "junk": 0}
    if draw.random() < 0.4:
        rows.insert(draw.randint(1, len(rows)), rows[0])
        fates["other"] += 1
    if draw.random() < 0.4 and style in ("plain", "ids", "windows"):
        rows.append(["none.png", *rows[0][1:]])
        fates["unreadable"] += 1
    if draw.random() < 0.4:
        rows.append([""] * len(header))
        fates["junk"] += 1
    between = draw.choice((",", ";", "\t"))
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=between, lineterminator=draw.choice(("\n", "\r\n"))).writerows([header, *rows])
    table = folder / f"images.{'tsv' if between == chr(9) and draw.random() < 0.5 else 'csv'}"
    table.write_bytes(text.getvalue().encode(encoding))
    return table, truth, fates
