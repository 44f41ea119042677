"""Assets: one way to write a `gofundo://` URI, and events that say what was pulled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from airflow.sdk import Asset

from airflow_provider_gofundo.assets import create_asset
from airflow_provider_gofundo.sandbox import Sandbox
from tests.dag_runs import runner
from tests.fixtures import Connect

DONATIONS = "gofundo://gofundo.nl/api/donations"


# --- the URI, as Airflow makes it of what a DAG says ---------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        DONATIONS,
        "gofundo://gofundo.nl/api/donations/",
        "gofundo://GoFundo.NL/api/donations",
        "GOFUNDO://gofundo.nl/api/donations",
        "gofundo://gofundo.nl:443/api/donations",
        "gofundo://gofundo.nl//api///donations//",
        "gofundo://gofundo.nl/api/donations#top",
    ],
)
def test_ways_to_write_a_list_are_one_asset(written: str) -> None:
    assert Asset(written).uri == DONATIONS


@pytest.mark.parametrize(
    "kept",
    [
        "gofundo://gofundo.nl:8443/api/donations",
        "gofundo://gofundo.nl/api/Donations",
        "gofundo://[::1]:8443/api/donations",
        "gofundo://gofundo.nl/api/donations?status=paid",
    ],
)
def test_lists_that_differ_are_assets_of_their_own(kept: str) -> None:
    assert Asset(kept).uri == kept


def test_parameters_of_a_list_are_sorted() -> None:
    assert Asset(f"{DONATIONS}?status=paid&from=2026-01-01").uri == f"{DONATIONS}?from=2026-01-01&status=paid"


def test_a_parameter_without_a_value_is_none() -> None:
    asset = create_asset(host="gofundo.nl", endpoint="api/donations?status=")

    assert asset.name == asset.uri == DONATIONS


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("gofundo://someone@gofundo.nl/api/donations", "no user and no password"),
        ("gofundo:///api/donations", "names a host and a list"),
        ("gofundo://gofundo.nl", "names a host and a list"),
        ("gofundo://gofundo.nl/", "names a host and a list"),
        ("gofundo://gofundo.nl:port/api/donations", "is no port"),
    ],
)
def test_a_uri_that_names_no_list_or_too_much_is_refused(wrong: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        Asset(wrong)

    assert "someone" not in str(caught.value)


def test_airflow_takes_a_password_out_of_the_uri() -> None:
    with pytest.warns(UserWarning, match="should not contain a password"):
        assert Asset(name="donations", uri="gofundo://1:hidden@gofundo.nl/api/donations").uri == DONATIONS


@pytest.mark.parametrize("endpoint", ["api/donations", "/api/donations/"])
def test_an_asset_is_named_by_host_and_endpoint(endpoint: str) -> None:
    asset = create_asset(host="gofundo.nl", endpoint=endpoint, extra={"team": "giving"})

    assert (asset.uri, asset.extra) == (DONATIONS, {"team": "giving"})


# --- events --------------------------------------------------------------------------------------------------------


@pytest.fixture
def events_of(
    sandbox: Sandbox, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[tuple[str, dict[str, Any]]]]:
    """Run a DAG in Airflow to its end, and return the events that Airflow's database has then."""
    connect(sandbox.url)
    run = runner(tmp_path, monkeypatch)

    def events_of(name: str, tasks: str) -> list[tuple[str, dict[str, Any]]]:
        from airflow.models.asset import AssetEvent
        from airflow.utils.session import create_session

        assert run(name, tasks).state == "success"
        with create_session() as session:
            found = session.query(AssetEvent).filter_by(source_dag_id=name).all()
            return [(event.asset.uri, event.extra) for event in found]

    return events_of


def test_whoever_waits_for_an_asset_reads_in_its_event_what_was_pulled(events_of: Any, tmp_path: Path) -> None:
    events = events_of(
        "tells_assets",
        """
        GofundoToObjectStorageOperator(
            task_id="pull",
            endpoint="api/donations",
            query_params={"status": "paid"},
            path=LAKE,
            incremental=Incremental(param="updated_since", field="updated_at"),
            outlets=[Asset("gofundo://gofundo.nl/api/donations"), Asset("lake"), AssetAlias("unknown")],
        )
        """,
    )

    lake = tmp_path / "lake"
    assert {uri for uri, _ in events} == {DONATIONS, "lake"}
    for _, extra in events:
        assert extra.pop("watermark").startswith("20")
        assert extra == {
            "endpoint": "api/donations",
            "records": 13,
            "manifest": (lake / "_manifest.json").as_uri(),
            "bytes": sum(part.stat().st_size for part in lake.glob("*.ndjson.gz")),
            "complete": True,
        }


def test_of_a_list_in_shards_the_task_that_publishes_it_tells(events_of: Any, tmp_path: Path) -> None:
    ((uri, extra),) = events_of(
        "tells_of_shards",
        """
        pulls = {"endpoint": "api/donations", "path": LAKE}
        plan = GofundoPlanShardsOperator(task_id="plan", endpoint="api/donations", shards=2)
        pulled = GofundoToObjectStorageOperator.partial(task_id="pull", **pulls).expand(shard=plan.output)
        lists = [Asset("gofundo://gofundo.nl/api/donations")]
        pulled >> GofundoPublishShardsOperator(task_id="publish", shards=plan.output, outlets=lists, **pulls)
        """,
    )

    assert (uri, extra["records"], extra["watermark"]) == (DONATIONS, 40, None)
    assert Path(urlsplit(extra["manifest"]).path).is_file()


def test_what_the_author_of_a_dag_tells_is_kept(events_of: Any) -> None:
    ((_, extra),) = events_of(
        "tells_more",
        """
        def team(context):
            context["outlet_events"][Asset("lake")].extra["team"] = "giving"

        GofundoToObjectStorageOperator(
            task_id="pull", endpoint="api/donations", path=LAKE, outlets=[Asset("lake")], pre_execute=team
        )
        """,
    )

    assert (extra["team"], extra["records"]) == ("giving", 40)


def test_a_pull_that_fails_tells_nothing(events_of: Any, sandbox: Sandbox) -> None:
    sandbox.faults.add("status", status=404, times=None)

    with pytest.raises(AssertionError, match="failed"):
        events_of(
            "fails",
            """
            GofundoToObjectStorageOperator(
                task_id="pull", endpoint="api/donations", path=LAKE, outlets=[Asset("lake")]
            )
            """,
        )
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session

    with create_session() as session:
        assert session.query(AssetEvent).filter_by(source_dag_id="fails").all() == []


@pytest.mark.parametrize("host", ["gofundo.nl", "https://gofundo.nl", "https://GOFUNDO.nl:443/"])
def test_an_asset_is_named_by_the_host_as_the_connection_has_it(host: str) -> None:
    assert create_asset(host=host, endpoint="/api/donations/").uri == "gofundo://gofundo.nl/api/donations"


def test_an_asset_with_a_password_is_refused_before_it_is_one() -> None:
    with pytest.raises(ValueError, match="no password"):
        create_asset(host="user:pass-word@gofundo.nl", endpoint="api/donations")
