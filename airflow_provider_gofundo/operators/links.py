"""Links from a task in Airflow's UI: to where its manifest lies, and to the health of its connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.providers.common.compat.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator


class GofundoManifestLink(BaseOperatorLink):
    """
    To where a pull says where its manifest lies.

    Airflow 3.3 leaves out links that are not http(s), as those to a storage are, and browsers do not follow them. So
    this leads to the task's XComs, whose summary names the manifest; on Airflow 2 it is the manifest's own path.
    """

    name = "Manifest"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return the link, empty where the task has written no manifest."""
        from airflow.providers.common.compat.sdk import XCom
        from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

        if not AIRFLOW_V_3_0_PLUS:  # asked by the webserver, for any task
            summary = XCom.get_value(ti_key=ti_key, key="return_value")
            return str(summary.get("manifest") or "") if isinstance(summary, Mapping) else ""
        if not getattr(operator, "pulled", None):
            return ""
        dag, run, task = (quote(part, safe="") for part in (ti_key.dag_id, ti_key.run_id, ti_key.task_id))
        index = -1 if ti_key.map_index is None else ti_key.map_index
        mapped = f"/mapped/{index}" if index >= 0 else ""
        return f"{_airflow()}/dags/{dag}/runs/{run}/tasks/{task}{mapped}/xcom"


class GofundoConnectionLink(BaseOperatorLink):
    """To the page that says how the task's connection is; on an Airflow without that page, before 3.1, to nowhere."""

    name = "Gofundo connection"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return the link."""
        from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

        conn_id = getattr(operator, "gofundo_conn_id", "")
        if not (AIRFLOW_V_3_1_PLUS and conn_id):
            return ""
        return f"{_airflow()}/gofundo/connections/{quote(conn_id, safe='')}"


def _airflow() -> str:
    """The address of Airflow's UI. Empty where it is not configured: a path is enough for a browser that shows it."""
    from airflow.providers.common.compat.sdk import conf

    return (conf.get("api", "base_url", fallback="") or "").rstrip("/")
