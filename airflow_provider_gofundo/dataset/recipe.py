"""Recipe: what to pull, and how it shall look when it has landed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from airflow_provider_gofundo.client.query import encode
from airflow_provider_gofundo.dataset.checkpoint import digest_of
from airflow_provider_gofundo.dataset.drift import OnDrift
from airflow_provider_gofundo.dataset.incremental import Incremental
from airflow_provider_gofundo.dataset.keys import is_field_name
from airflow_provider_gofundo.dataset.part import Compression, FileFormat, Format, format_of
from airflow_provider_gofundo.dataset.privacy import Privacy, UnknownFields, check_paths
from airflow_provider_gofundo.exceptions import GofundoConfigError
from airflow_provider_gofundo.pages.walk import PARALLEL, check_parallel
from airflow_provider_gofundo.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """
    What to pull, and how it shall look.

    `endpoint` and `query_params` name the list. `record_key` is the top-level field that tells its records apart,
    None where there is none: then those that come twice cannot be told, nor a list repaired that changed meanwhile.
    """

    endpoint: str
    query_params: Mapping[str, Any] | None = None
    parallel: int = PARALLEL
    file_format: FileFormat = "ndjson"
    compression: Compression = "gzip"
    schema: Mapping[str, str] | None = None
    records_per_part: int = 100_000
    record_key: str | None = "id"
    exclude_fields: Sequence[str] = ()
    pseudonymize_fields: Sequence[str] = ()
    unknown_fields: UnknownFields = "error"
    incremental: Incremental | None = None
    on_drift: OnDrift = "repull"

    def check(self) -> None:
        """Find what is wrong with it before anything is sent; GofundoConfigError."""
        check_parallel(self.parallel)
        if self.query_params is not None and not isinstance(self.query_params, Mapping):
            raise GofundoConfigError('query_params must be a dictionary, such as {"per_page": 100}.')
        if self.schema is not None and not isinstance(self.schema, Mapping):
            raise GofundoConfigError('schema must be a dictionary, such as {"amount": "decimal128(12, 2)"}.')
        if type(self.records_per_part) is not int or self.records_per_part < 1:
            raise GofundoConfigError("records_per_part must be a whole number, at least 1.")
        for argument in ("exclude_fields", "pseudonymize_fields"):
            check_paths(argument, getattr(self, argument))
        if self.on_drift not in get_args(OnDrift):
            raise GofundoConfigError(f"on_drift must be one of {', '.join(get_args(OnDrift))}.")
        if self.record_key is not None and not is_field_name(self.record_key):
            raise GofundoConfigError("record_key must be the name of a field, or None.")
        if self.record_key in self.exclude_fields:
            raise GofundoConfigError(
                "exclude_fields may not hold the record_key, which tells records apart; pseudonymize it, or name "
                "another record_key."
            )
        if hidden := {*self.exclude_fields} & {*(self.schema or ())}:
            raise GofundoConfigError(
                f"schema gives a type to {', '.join(sorted(hidden))}, which exclude_fields leaves out; take it out "
                "of one of them."
            )
        if self.incremental is not None and not isinstance(self.incremental, Incremental):
            raise GofundoConfigError("incremental must be Incremental(param=…, field=…).")
        if self.incremental and self.incremental.field in (*self.exclude_fields, *self.pseudonymize_fields):
            raise GofundoConfigError(
                f"incremental: {self.incremental.field} is left out or replaced by pseudonyms, but its greatest "
                "value is kept as it is; name another field."
            )
        if self.incremental and self.incremental.param in (self.query_params or {}):
            raise GofundoConfigError(
                f"query_params may not hold {self.incremental.param} too: incremental sets it. Take one of them out."
            )

    def format(self) -> Format:
        """Return the format of its files, new for every run."""
        return format_of(self.file_format, self.compression, self.schema)

    def privacy(self, settings: Settings) -> Privacy:
        """Return what hides its personal fields."""
        return Privacy(
            exclude=self.exclude_fields,
            pseudonymize=self.pseudonymize_fields,
            key=settings.pseudonym_key_secret,
            unknown=self.unknown_fields,
        )

    def fingerprint(self, settings: Settings, *more: Any) -> str:
        """Return a digest that two pulls share only where both ask and write the same, as the same client."""
        return digest_of(
            settings.base_url,
            settings.client_id,
            settings.username,
            self.endpoint,
            encode(self.query_params),
            self.file_format,
            self.compression,
            self.schema,
            self.records_per_part,
            self.record_key,
            self.privacy(settings).fingerprint(),
            *more,
        )
