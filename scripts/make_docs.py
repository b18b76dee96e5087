"""Writes docs/nets/*.md and their diagrams from the catalogue: a page a family, and the list of them. And catalogue.json, its
facts for whoever only lists them.

    make docs

The pages are made, never edited: what they say is in striate/nets. A test compares them with what this script would write.
"""

import json
from pathlib import Path

from striate.anatomy import inspect
from striate.catalogue import FILE
from striate.nets import CATALOGUE, FAMILIES, Family, NetSpec

DOCS = Path(__file__).parents[1] / "docs" / "nets"


def facts() -> str:
    """The content of catalogue.json: a line a family and a line a row."""
    families: dict[str, object] = {
        family.name: {"new": family.new, "mattered": family.mattered} for family in FAMILIES.values()
    }
    parts: dict[str, dict[str, object]] = {
        "families": families,
        "rows": {name: row.as_dict() for name, row in CATALOGUE.items()},
    }
    lines = {
        part: ",\n".join(
            f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in content.items()
        )
        for part, content in parts.items()
    }
    return "{" + ",\n".join(f'"{part}": {{\n{text}\n}}' for part, text in lines.items()) + "}\n"


def family_page(family: Family) -> str:
    """The page of a family as Markdown."""
    drawn = CATALOGUE[family.drawn]
    parts = [
        f"# {family.title}",
        f"**What was new.** {family.new}",
        f"**Why it mattered.** {family.mattered}",
        "\n".join(f"- {citation}" for citation in dict.fromkeys(row.citation for row in family.rows)),
        f"![{drawn.title}: its operations, as `striate inspect {drawn.name} --diagram` draws them]({drawn.name}.svg)",
        f"![{drawn.title}: the sizes of its feature maps]({drawn.name}-maps.svg)",
        f"Code and table of forms: [striate/nets/{family.name}.py](../../striate/nets/{family.name}.py).",
        "## Its forms",
        table(family.rows),
    ]
    notes = [note(row) for row in family.rows if row.deviations or row.known_findings or row.results]
    if notes:
        parts += ["## Differences from the sources, and published results", *notes]
    return "\n\n".join(parts) + "\n"


def table(rows: tuple[NetSpec, ...]) -> str:
    """The rows of the catalogue as a Markdown table."""
    lines = [
        "| net | follows | geometry | input | parameters | MACs | min. input |",
        "|---|---|---|---|---:|---:|---:|",
    ]
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
    lines += [f"- published: {result}" for result in row.results]
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
    lines += [
        f"| [{family.title}]({family.name}.md) | {family.new} | {len(family.rows)} |" for family in FAMILIES.values()
    ]
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """File name -> Markdown, for all pages."""
    return {"README.md": index_page(), **{f"{family.name}.md": family_page(family) for family in FAMILIES.values()}}


def main() -> None:
    DOCS.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")
    FILE.write_text(facts(), encoding="utf-8")
    for name in (family.drawn for family in FAMILIES.values()):
        anatomy = inspect(name)
        (DOCS / f"{name}.svg").write_text(anatomy.diagram(), encoding="utf-8")
        (DOCS / f"{name}-maps.svg").write_text(anatomy.maps(), encoding="utf-8")


if __name__ == "__main__":
    main()
