"""What Airflow reads of this provider at start-up. Imports nothing heavy."""

from __future__ import annotations

from typing import Any

from airflow_provider_gofundo import __version__
from airflow_provider_gofundo.form import EXTRA_FIELDS, HIDDEN, PLACEHOLDERS, RELABELING

ASSETS = "airflow_provider_gofundo.assets"
ASSET_URIS = {
    "schemes": ["gofundo"],
    "handler": f"{ASSETS}.sanitize_uri",
    "factory": f"{ASSETS}.create_asset",
    "to_openlineage_converter": f"{ASSETS}.convert_asset_to_openlineage",
}


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
        "sensors": [{"integration-name": "Gofundo", "python-modules": ["airflow_provider_gofundo.sensors.gofundo"]}],
        "triggers": [
            {"integration-name": "Gofundo", "python-modules": ["airflow_provider_gofundo.triggers.gofundo"]}
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
        "cli": ["airflow_provider_gofundo.cli.commands.get_commands"],
        "extra-links": [
            "airflow_provider_gofundo.operators.links.GofundoManifestLink",
            "airflow_provider_gofundo.operators.links.GofundoConnectionLink",
        ],
        "asset-uris": [ASSET_URIS],
        "dataset-uris": [ASSET_URIS],  # before Airflow 3
        "connection-types": [
            {
                "connection-type": "gofundo",
                "hook-class-name": "airflow_provider_gofundo.hooks.gofundo.GofundoHook",
                "hook-name": "Gofundo",
                "conn-fields": EXTRA_FIELDS,
                "ui-field-behaviour": {
                    "hidden-fields": HIDDEN,
                    "relabeling": RELABELING,
                    "placeholders": PLACEHOLDERS,
                },
            }
        ],
    }
