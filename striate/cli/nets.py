"""striate nets"""

from __future__ import annotations

from striate import catalogue
from striate.cli.options import Command, argument, option
from striate.cli.output import show_json, show_table, words
from striate.errors import UsageError
from striate.texts import dimensions


class Nets(Command):
    """List the networks of the catalogue, or describe one."""

    name: str | None = argument("Show the card of this network.", default=None)
    family: str | None = option(None, "Only this family, such as resnet.")
    geometry: str | None = option(None, "Only this variant: paper, native (for small images) or tutorial.")
    sort: str = option("year", "Sort by name, year, params, macs or input.")

    def __call__(self) -> None:
        if self.name is None:
            self._list()
            return
        facts = catalogue.card(self.name)
        shown = {**facts, "year": str(facts["year"])}
        self.show(
            facts, {key.replace("_", " "): words(value) for key, value in shown.items() if value not in (None, [])}
        )

    def _list(self) -> None:
        every = catalogue.rows().values()
        wanted = {"family": self.family, "geometry": self.geometry}
        rows = [row for row in every if all(value in (None, row[key]) for key, value in wanted.items())]
        if not rows:
            families, geometries = sorted({row["family"] for row in every}), ("paper", "native", "tutorial")
            raise UsageError(
                f"no network matches; families: {', '.join(families)}; geometries: {', '.join(geometries)}"
            )
        if self.sort not in ("name", "year", "params", "macs", "input"):
            raise UsageError(f"--sort must be name, year, params, macs or input, got {self.sort!r}")
        rows.sort(key=lambda row: row["input"][1] if self.sort == "input" else row[self.sort])
        if self.as_json:
            show_json(rows)
            return
        show_table(
            [
                {
                    "net": row["name"],
                    "year": row["year"],
                    "geometry": row["geometry"],
                    "input": dimensions(row["input"]),
                    "params": f"{row['params']:,}",
                    "MACs": f"{row['macs']:,}",
                    "min. input": row["min_size"],
                }
                for row in rows
            ],
            right=("params", "MACs", "min. input"),
        )
