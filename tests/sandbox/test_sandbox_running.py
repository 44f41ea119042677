"""Starting, stopping, steering from another process, and what is counted."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_provider_gofundo.sandbox import Sandbox, Settings
from airflow_provider_gofundo.sandbox.cli import banner, main, parser

Get = Callable[..., requests.Response]


def test_a_stop_leaves_no_thread_and_no_socket(get: Get) -> None:
    before = set(threading.enumerate())
    with Sandbox(records=3) as sandbox:
        assert get(sandbox, "/api/donations").status_code == 200
        assert len(set(threading.enumerate()) - before) == 1
    assert set(threading.enumerate()) <= before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", sandbox.port), timeout=1)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", sandbox.port))


def test_it_comes_back_on_the_same_port_with_its_memory(fresh: Sandbox, session: requests.Session) -> None:
    headers = {"Authorization": f"Bearer {fresh.token()}"}
    url = f"{fresh.url}/api/donations"
    assert session.get(url, headers=headers).status_code == 200
    fresh.stop()
    fresh.stop()
    assert not fresh.running
    with pytest.raises(requests.exceptions.ConnectionError):
        session.get(url, headers=headers)
    fresh.start()
    assert session.get(url, headers=headers).status_code == 200
    assert fresh.counters.total == 2


@pytest.mark.timeout(15)
def test_a_stop_does_not_wait_for_slow_answers(fresh: Sandbox) -> None:
    fresh.faults.add("slow", "/", seconds=30)
    failures: list[Exception] = []

    def ask() -> None:
        try:
            requests.get(fresh.url, timeout=20)
        except requests.RequestException as failure:
            failures.append(failure)

    thread = threading.Thread(target=ask)
    thread.start()
    while fresh.counters.in_flight == 0:
        time.sleep(0.005)
    fresh.stop()
    thread.join()
    assert isinstance(failures[0], requests.exceptions.ConnectionError)


def test_a_port_in_use_is_told(fresh: Sandbox) -> None:
    with pytest.raises(OSError, match="in use"):
        Sandbox(port=fresh.port).start()


def test_settings_are_checked(sandbox: Sandbox) -> None:
    for change in ({"league": 7}, {"consent": "maybe"}, {"keep_query": 1}, {"max_per_page": "9"}, {"nonsense": 1}):
        with pytest.raises(ValueError, match=next(iter(change))):
            sandbox.settings.update({"pretty": True, **change})
    assert sandbox.settings.pretty is False
    with pytest.raises(ValueError, match="no such setting"):
        sandbox.settings.typo = 1


def test_requests_are_kept_for_assertions(sandbox: Sandbox, session: requests.Session) -> None:
    form = {"grant_type": "client_credentials", "client_id": "1", "client_secret": "secret-machine-1"}
    session.post(f"{sandbox.url}/oauth/token", data=form)
    session.get(f"{sandbox.url}/api/donations?page=2&x=%C3%AB")
    token, page = sandbox.requests
    assert (token.method, token.path, token.status, token.form) == ("POST", "/oauth/token", 200, form)
    assert (page.query, page.status, page.headers["accept"]) == ({"page": "2", "x": "ë"}, 401, "application/json")


def test_paths_are_counted_by_template(sandbox: Sandbox, get: Get) -> None:
    for path in ("/api/donations/1", "/api/donations/2", "/api/paginate/donors", "/nowhere", "/api/nowhere"):
        get(sandbox, path)
    assert sandbox.counters.requests == {
        "GET /api/donations/{id}": 2,
        "GET /api/paginate/donors": 1,
        "GET unknown": 2,
    }
    assert sandbox.counters.statuses == {200: 3, 404: 2}


def test_open_connections_are_counted_while_they_are_open(fresh: Sandbox) -> None:
    with requests.Session() as one, requests.Session() as other:
        one.get(fresh.url)
        other.get(fresh.url)
        assert fresh.counters.connections_open == 2
    deadline = time.monotonic() + 2
    while fresh.counters.connections_open and time.monotonic() < deadline:
        time.sleep(0.005)
    assert (fresh.counters.connections_open, fresh.counters.connections_max) == (0, 2)


def test_the_control_endpoint_steers_from_another_process(fresh: Sandbox, session: requests.Session) -> None:
    control = f"{fresh.url}/_sandbox"
    token = fresh.token()

    def lists(**query: str) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return session.get(f"{fresh.url}/api/donations", params=query, headers=headers)

    assert session.patch(f"{control}/settings", json={"max_per_page": 2}).json()["max_per_page"] == 2
    assert len(lists(per_page="9").json()["data"]) == 2
    fault = session.post(f"{control}/faults", json={"kind": "status", "status": 500, "path": "/api/"}).json()
    assert (fault["kind"], fault["times"]) == ("status", 1)
    assert len(session.get(f"{control}/faults").json()) == 1
    assert lists().status_code == 500
    done = session.post(f"{control}/records", json={"insert": 2, "delete": [1], "touch": [2]}).json()
    assert done == {"inserted": [21, 22], "deleted": 1, "touched": 1, "count": 21}
    assert session.get(f"{control}/records").json() == {"donations": 21, "donors": 5, "actions": 3}
    assert session.post(f"{control}/revoke").json() == {"revoked": 1}
    assert lists().status_code == 401
    counters = session.get(f"{control}/counters").json()
    assert (counters["requests"], counters["faults"]) == ({"GET /api/donations": 3}, {"status": 1})
    assert [seen["status"] for seen in session.get(f"{control}/requests").json()] == [200, 500, 401]
    assert token not in session.get(f"{control}/requests").text
    session.delete(f"{control}/counters")
    assert session.get(f"{control}/counters").json()["total"] == 0


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("PATCH", "/settings", {"json": {"league": 10}}, 400),
        ("PATCH", "/settings", {"data": '{"league": 9}'}, 415),
        ("POST", "/faults", {"json": {"kind": "nonsense"}}, 400),
        ("POST", "/records", {"json": {"list": "nothing"}}, 400),
        ("POST", "/records", {"json": {"drop": 1}}, 400),
        ("POST", "/records", {"json": [1]}, 400),
        ("GET", "/nothing", {}, 404),
        ("PUT", "/settings", {}, 405),
        ("GET", "/settings", {"headers": {"Host": "gofundo.example"}}, 403),
    ],
)
def test_the_control_endpoint_says_what_was_wrong(
    method: str, path: str, options: dict[str, Any], status: int, sandbox: Sandbox
) -> None:
    answer = requests.request(method, f"{sandbox.url}/_sandbox{path}", timeout=10, **options)
    assert answer.status_code == status
    assert answer.json()["message"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_runs_until_it_is_interrupted(number: signal.Signals, tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    options = ["--port", "0", "--records", "7", "--ready-file", str(ready), "--client", "mine:own", "--league", "9"]
    command = [sys.executable, "-m", "airflow_provider_gofundo.sandbox", *options, "--cursor-names"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while not ready.exists():
            assert process.poll() is None
            time.sleep(0.01)
        about = json.loads(ready.read_text("utf-8"))
        assert about["pid"] == process.pid
        form = {"grant_type": "client_credentials", "client_id": "mine", "client_secret": "own"}
        answer = requests.post(f"{about['url']}/oauth/token", data=form, timeout=10)
        settings = requests.get(f"{about['url']}/_sandbox/settings", timeout=10).json()
        process.send_signal(number)
        printed, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert answer.status_code == 200
    assert (settings["league"], settings["cursor_names"], settings["pretty"]) == (9, True, False)
    assert about["url"] in printed
    assert "not Gofundo" in printed
    assert not ready.exists()


def test_every_setting_is_a_flag() -> None:
    options = vars(parser().parse_args([]))
    assert {name: options[name] for name in Settings().as_dict()} == Settings().as_dict()


def test_the_banner_tells_what_a_user_needs(sandbox: Sandbox) -> None:
    text = banner(sandbox)
    for part in (sandbox.url, "secret-machine-1", "alice@example.org", "cursor-paginate", "/_sandbox/", "stand-in"):
        assert part in text


@pytest.mark.parametrize("options", [["--host", "0.0.0.0"], ["--client", "half"], ["--max-per-page", "x"]])
def test_what_cannot_be_is_refused(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*options, "--port", "0"])
    assert stopped.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_importing_the_sandbox_imports_neither_airflow_nor_the_provider() -> None:
    code = (
        "import sys, airflow_provider_gofundo.sandbox; "
        "own = 'airflow_provider_gofundo.'; "
        "bad = [m for m in sys.modules if m == 'airflow' or m.startswith('airflow.') "
        "or (m.startswith(own) and not m.startswith(own + 'sandbox'))]; "
        "sys.exit(repr(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr
