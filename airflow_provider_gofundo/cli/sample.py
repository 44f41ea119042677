"""Sample: what a page tells of the list it is of, and what follows from it for a DAG."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from airflow_provider_gofundo.dataset.keys import is_field_name
from airflow_provider_gofundo.pages.shapes import Page

# Names of fields, in Dutch and English, that may be about a person. A hint, and no more than that.
_PERSONAL = re.compile(
    r"(^|_)(e?mail|(first|last|full|nick|user|voor|achter)?_?(name|naam)|phone|mobile|tele(fo|pho)on\w*|address|adres|"
    r"street|straat|zip|zipcode|postcode|postal_code|city|woonplaats|birth\w*|geboorte\w*|iban|ip|message|comment|bericht)$",
    re.IGNORECASE,
)
_PEOPLE = re.compile(
    r"(^|\.)(donor|donateur|user|gebruiker|customer|klant|member|lid|person|persoon|contact)s?(\.|$)"
)

_IMPORT_INCREMENTAL = "# from airflow_provider_gofundo.dataset.incremental import Incremental"
_IMPORT_OPERATOR = (
    "from airflow_provider_gofundo.transfers.gofundo_to_object_storage import GofundoToObjectStorageOperator"
)

_NAMES: dict[type, str] = {
    dict: "object",
    list: "array",
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
}


def shape(page: Page) -> str:
    """Name the shape of a list by its first page, in Laravel's words where it has some."""
    if page.last_page is not None or (page.number is not None and page.total is not None):
        return "numbered pages with a total (paginate)"
    if page.number is not None:
        return "numbered pages without a total (simplePaginate)"
    if page.next is not None or page.has_previous is not None:
        return "pages by cursor (cursorPaginate)"
    return "the whole list in one answer"


class Sample:
    """The records of a page, decoded, with the types of their fields: paths with dots, as the operators take them."""

    def __init__(self, page: Page) -> None:
        self._records = [msgspec.json.decode(record, type=dict[str, Any]) for record in page.records]
        self.paged = page.next is not None
        self.fields: dict[str, list[str]] = {}
        self._seen: dict[str, int] = {}
        for record in self._records:
            for path, name in _types(record):
                self._seen[path] = self._seen.get(path, 0) + 1
                names = self.fields.setdefault(path, [])
                if name not in names:
                    names.append(name)

    def field_lines(self) -> list[str]:
        """Return a line for each field: its path, its JSON types, and whether some records lack it."""
        width = max(map(len, self.fields), default=0)
        return [f"{path:<{width}}  {' or '.join(names)}{self._rarely(path)}" for path, names in self.fields.items()]

    def _rarely(self, path: str) -> str:
        lacks = "." not in path and self._seen[path] < len(self._records)
        return ", missing in some" if lacks else ""

    def record_key(self) -> str | None:
        """Return the field that tells records apart: id, or what else is different in every one of them."""
        candidates = sorted(self.fields, key=lambda name: (name != "id", not name.endswith(("id", "uuid", "key"))))
        return next((name for name in candidates if self._is_key(name)), None)

    def _is_key(self, name: str) -> bool:
        if not is_field_name(name) or not name.endswith(("id", "uuid", "key", "number", "code", "slug")):
            return False
        values = [record.get(name) for record in self._records]
        return all(type(value) in (int, str) for value in values) and len(set(values)) == len(values)

    def moments(self) -> list[str]:
        """Return the top-level fields that hold a time in every record; those that tell of a change come first."""
        found = [name for name in self.fields if all(_is_moment(record.get(name)) for record in self._records)]
        return sorted(found, key=lambda name: not re.search("updat|modif|chang|gewijzigd", name))

    def personal(self) -> list[str]:
        """Return the fields that may be about a person, by their names."""
        leaves = [path for path, names in self.fields.items() if not {"object", "array"} & set(names)]
        return [path for path in leaves if _is_personal(path)]


def task(
    endpoint: str, sample: Sample, *, conn_id: str, query_params: Mapping[str, Any] | None, personal: Sequence[str]
) -> str:
    """Return what to put into a DAG: imports and a task. What the page cannot tell is a comment in it."""
    key = sample.record_key()
    name = re.sub(r"\W+", "_", endpoint.strip("/").rpartition("/")[2]).strip("_") or "list"
    arguments = [f'task_id="pull_{name}"', f"endpoint={_quoted(endpoint)}"]
    if query_params:
        pairs = ", ".join(f"{_quoted(one)}: {_quoted(value)}" for one, value in query_params.items())
        arguments.append(f"query_params={{{pairs}}}")
    arguments.append(f'path="s3://lake/{name}"')
    if key != "id":
        arguments.append(f"record_key={_quoted(key) if key else None}")
    if conn_id != "gofundo_default":
        arguments.append(f"gofundo_conn_id={_quoted(conn_id)}")
    lines = [f"    {argument}," for argument in arguments]
    if sample.paged and "per_page" not in (query_params or {}):
        where = ", in query_params" if query_params else ""
        lines.append(f"    # Fewer, larger pages, where the list knows it{where}:")
        lines.append('    # "per_page": 100,' if query_params else '    # query_params={"per_page": 100},')
    if personal:
        lines.append(f"    # exclude_fields=[{', '.join(map(_quoted, personal))}],")
    imports = [_IMPORT_OPERATOR]
    if moments := sample.moments():
        imports.insert(0, _IMPORT_INCREMENTAL)
        lines.append("    # Only what changed, where the list has a parameter for it, with a path for every run:")
        lines.append(f'    # incremental=Incremental(param="updated_since", field={_quoted(moments[0])}),')
    return "\n".join([*imports, "", "GofundoToObjectStorageOperator(", *lines, ")"])


def _quoted(value: Any) -> str:
    return msgspec.json.encode(value).decode() if isinstance(value, str) else repr(value)


def _types(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the paths in a record and the types there. Lists add nothing to a path, as in the operators."""
    if path:
        yield path, "null" if value is None else _NAMES[type(value)]
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _types(inner, f"{path}.{name}" if path else name)
    if isinstance(value, list):
        for inner in value:
            if isinstance(inner, (dict, list)):
                yield from (found for found in _types(inner, path) if found[0] != path)


def _is_moment(value: object) -> bool:
    if not isinstance(value, str) or not re.match(r"\d{4}-\d\d-\d\d[T ]\d\d:", value):
        return False
    try:
        datetime.fromisoformat(re.sub(r"(\.\d+)?(Z|[+-]\d\d:?\d\d)?$", "", value))
    except ValueError:
        return False
    return True


def _is_personal(path: str) -> bool:
    around, _, name = path.rpartition(".")
    if name.lower() in ("name", "naam"):
        return bool(_PEOPLE.search(around))  # that of a project is nobody's
    return bool(_PERSONAL.search(name))
