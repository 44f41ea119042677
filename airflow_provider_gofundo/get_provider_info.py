"""What Airflow reads of this provider at start-up. Imports nothing heavy."""

from __future__ import annotations

from typing import Any

from airflow_provider_gofundo import __version__
from airflow_provider_gofundo.form import EXTRA_FIELDS, PLACEHOLDERS, STANDARD_LABELS


def get_provider_info() -> dict[str, Any]:
    """Return the provider's declaration; its keys are those of Airflow's `provider_info.schema.json`."""
    return {
        "package-name": "airflow-provider-gofundo",
        "name": "Gofundo",
        "description": "Gofundo, the Dutch fundraising platform: complete pulls over its OAuth 2.0 API.",
        "versions": [__version__],
        "integrations": [
            {"integration-name": "Gofundo", "external-doc-url": "https://gofundo.nl", "tags": ["service"]}
        ],
        "hooks": [{"integration-name": "Gofundo", "python-modules": ["airflow_provider_gofundo.hooks.gofundo"]}],
        "operators": [
            {"integration-name": "Gofundo", "python-modules": ["airflow_provider_gofundo.operators.gofundo"]}
        ],
        "transfers": [
            {
                "source-integration-name": "Gofundo",
                "target-integration-name": "Common IO",
                "python-module": "airflow_provider_gofundo.transfers.gofundo_to_object_storage",
            },
            {
                "source-integration-name": "Gofundo",
                "target-integration-name": "Common IO",
                "python-module": "airflow_provider_gofundo.transfers.gofundo_shards",
            },
        ],
        "connection-types": [
            {
                "connection-type": "gofundo",
                "hook-class-name": "airflow_provider_gofundo.hooks.gofundo.GofundoHook",
                "hook-name": "Gofundo",
                "conn-fields": EXTRA_FIELDS,
                "ui-field-behaviour": {
                    "hidden-fields": ["schema"],
                    "relabeling": {
                        "login": STANDARD_LABELS["client_id"],
                        "password": STANDARD_LABELS["client_secret"],
                    },
                    "placeholders": PLACEHOLDERS,
                },
            }
        ],
    }
