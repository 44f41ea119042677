"""
What a contender wrote, as a checksum of its records, whatever their order: `python -m benchmarks.checksum FOLDER`.

Two sums. `exact` is over the records as they are: numbers by their exact value (1.10 is 1.1, and no float comes in
between), texts by their characters. `values` leaves out what dlt adds (`_dlt_id`, `_dlt_load_id`) and what typed
columns cannot keep: a null is as good as an absent field, and a point in time counts as such, however it is written.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Context, Decimal
from pathlib import Path
from typing import Any

LINES = (".ndjson", ".jsonl")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")
WIDE = Context(prec=1000)


def main() -> int:
    records = sorted(read(Path(sys.argv[1])), key=lambda record: Decimal(record["id"]))
    sums = {"exact": digest(records), "values": digest([comparable(record) for record in records])}
    print(json.dumps({"records": len(records), **sums}))
    return 0


def read(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of every data file below the folder, but for dlt's own tables and working files."""
    for file in sorted(folder.rglob("*")):
        if any(part.startswith("_dlt") or part == "pipelines" for part in file.relative_to(folder).parts):
            continue
        if file.suffix in LINES:
            with file.open("rb") as lines:
                for line in lines:
                    yield json.loads(line, parse_float=Decimal, parse_int=Decimal)
        elif file.suffix == ".parquet":
            import pyarrow.parquet

            for batch in pyarrow.parquet.ParquetFile(file).iter_batches():
                yield from batch.to_pylist()


def digest(records: list[dict[str, Any]]) -> str:
    """SHA-256 over the records, each in one spelling."""
    whole = hashlib.sha256()
    for record in records:
        whole.update(json.dumps(plain(record), sort_keys=True).encode() + b"\n")
    return whole.hexdigest()


def plain(value: Any) -> Any:
    """A value as JSON can spell it, numbers by their exact value."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return {"number": str(WIDE.normalize(Decimal(value)))}
    return value.isoformat() if isinstance(value, date) else value


def comparable(value: Any) -> Any:
    """A value without what typed columns cannot keep."""
    if isinstance(value, dict):
        kept = {name: inner for name, inner in value.items() if inner is not None and not name.startswith("_dlt_")}
        return {name: comparable(inner) for name, inner in kept.items()}
    if isinstance(value, list):
        return [comparable(inner) for inner in value]
    if isinstance(value, str) and MOMENT.fullmatch(value):
        return {"moment": moment(datetime.fromisoformat(value.replace("Z", "+00:00")))}
    return {"moment": moment(value)} if isinstance(value, datetime) else value


def moment(when: datetime) -> str:
    return f"{when.timestamp():.6f}"


if __name__ == "__main__":
    raise SystemExit(main())
