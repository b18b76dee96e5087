"""Writes docs/nets/*.md and their diagrams from the catalogue: a page a family, and the list of them.

    python scripts/make_docs.py

The pages are made, never edited: what they say is in striate/nets. A test compares them with what this script would write.
"""

from pathlib import Path

from striate.anatomy import inspect
from striate.nets import CATALOGUE, NetSpec
from striate.nets.history import FAMILIES, RESULTS

DOCS = Path(__file__).parents[1] / "docs" / "nets"

DRAWN = {
    "lenet": "lenet5",
    "alexnet": "alexnet",
    "vgg": "vgg16",
    "nin": "nin-cifar10",
    "googlenet": "googlenet",
    "resnet": "resnet50",
    "preresnet": "preresnet164",
    "densenet": "densenet121",
}
"""The form of each family that its page shows."""


def family_page(family: str) -> str:
    """The page of a family as Markdown."""
    facts = FAMILIES[family]
    rows = [row for row in CATALOGUE.values() if row.family == family]
    drawn = CATALOGUE[DRAWN[family]]
    parts = [
        f"# {facts.title}",
        f"**What was new.** {facts.new}",
        f"**Why it mattered.** {facts.mattered}",
        "\n".join(f"- {citation}" for citation in dict.fromkeys(row.citation for row in rows)),
        f"![{drawn.title}: its operations, as `striate inspect {drawn.name} --diagram` draws them]({drawn.name}.svg)",
        f"![{drawn.title}: the sizes of its feature maps]({drawn.name}-maps.svg)",
        f"The code: [striate/nets/{family}.py](../../striate/nets/{family}.py), and its rows in "
        f"[striate/nets/rows/{family}.py](../../striate/nets/rows/{family}.py).",
        "## Its forms",
        table(rows),
    ]
    notes = [note(row) for row in rows if row.deviations or row.known_findings or row.name in RESULTS]
    if notes:
        parts += ["## Where they depart from their sources, and what was published", *notes]
    return "\n\n".join(parts) + "\n"


def table(rows: list[NetSpec]) -> str:
    """The rows of the catalogue as a Markdown table."""
    lines = ["| net | follows | geometry | input | parameters | MACs | smallest |", "|---|---|---|---|---:|---:|---:|"]
    for row in rows:
        size = "x".join(map(str, row.input))
        extra = f" ({row.params_training:,} in training)" if row.params_training else ""
        lines.append(
            f"| `{row.name}` | {row.source} | {row.geometry} | {size} | {row.params:,}{extra} | {row.macs:,} | {row.min_size} |"
        )
    return "\n".join(lines)


def note(row: NetSpec) -> str:
    """Deviations, findings and published results of a row."""
    lines = [f"**`{row.name}`**", ""]
    lines += [f"- {deviation}" for deviation in row.deviations]
    lines += [f"- known finding: {finding}" for finding in row.known_findings]
    lines += [f"- published: {result}" for result in RESULTS.get(row.name, ())]
    return "\n".join(lines)


def index_page() -> str:
    """The list of families."""
    lines = [
        "# The catalogue",
        "",
        f"{len(CATALOGUE)} forms of the classic networks. A test recomputes every number; `striate nets` lists them.",
        "",
    ]
    lines += ["| family | what was new | forms |", "|---|---|---:|"]
    for family, facts in FAMILIES.items():
        count = sum(row.family == family for row in CATALOGUE.values())
        lines.append(f"| [{facts.title}]({family}.md) | {facts.new} | {count} |")
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """File name -> Markdown, for all pages."""
    return {"README.md": index_page(), **{f"{family}.md": family_page(family) for family in FAMILIES}}


def main() -> None:
    DOCS.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")
    for name in DRAWN.values():
        anatomy = inspect(name)
        (DOCS / f"{name}.svg").write_text(anatomy.diagram(), encoding="utf-8")
        (DOCS / f"{name}-maps.svg").write_text(anatomy.maps(), encoding="utf-8")


if __name__ == "__main__":
    main()
