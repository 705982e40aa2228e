"""The paper's own figures (Tables 1-4), which come with fasa as a data file with their source.

They are quoted, not measured: everything that shows them calls them "published".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FILE = Path(__file__).with_name("published.json")
AVERAGE = "Average"


@dataclass(frozen=True)
class PublishedTable:
    """One table of the paper. `rows` are by method, then by data set or `AVERAGE`, in the order of
    `metrics`; averages are the paper's own."""

    number: int
    title: str
    protocol: str
    threshold: float
    metrics: tuple[str, ...]
    datasets: tuple[str, ...]
    rows: Mapping[str, Mapping[str, tuple[float, ...]]]
    citation: str


@cache
def published_tables() -> dict[int, PublishedTable]:
    """The paper's Tables 1 to 4, by their number."""
    content = json.loads(_FILE.read_text(encoding="utf-8"))
    tables = {}
    for each in content["tables"]:
        number = each["number"]
        tables[number] = PublishedTable(
            number,
            each["title"],
            each["protocol"],
            each["threshold"],
            tuple(each["metrics"]),
            tuple(each["datasets"]),
            {
                row["method"]: {name: tuple(values) for name, values in row["values"].items()}
                for row in each["rows"]
            },
            f"{content['source']['citation']}, Table {number}",
        )
    return tables
