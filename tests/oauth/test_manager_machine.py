"""
The token manager as a state machine: two workers, one store, one server, and everything that can go wrong.

Whatever the order of expiry, revocation, rotation by others, lost answers, outages and crashes: a worker ends with
a token that the server accepts or with the right error, and no refresh token is ever sent again once the server may
have seen it.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import count

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from airflow_provider_gofundo.exceptions import (
    GofundoApiError,
    GofundoAuthError,
    GofundoConnectionError,
    GofundoError,
    GofundoReauthorizationRequired,
)
from airflow_provider_gofundo.oauth.grants import Grant
from airflow_provider_gofundo.oauth.lease import Lease
from airflow_provider_gofundo.oauth.manager import TokenManager
from airflow_provider_gofundo.oauth.store import SharedTokenStore
from airflow_provider_gofundo.oauth.token import Token
from tests.fixtures import settings_of

ACCESS, REFRESH = timedelta(days=14), timedelta(hours=1)
FAULTS = ["lost", "unreachable", "maintenance", "failed", "crash"]


# A process remembers the refresh tokens it has used, so no two servers give out the same.
_numbers = count(1)


class Crash(BaseException):
    """The worker dies between the server's answer and its own next step."""


class Server:
    """Gofundo as the contract has it: a refresh kills the old pair at once, and works once."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, tzinfo=timezone.utc)
        self.access: dict[str, datetime] = {}
        self.refresh: dict[str, tuple[datetime, str]] = {}
        self.fault: str | None = None
        self.dies: dict[str, datetime] = {}
        self.seen: list[str] = []

    def accepts(self, token: Token) -> bool:
        return self.now < self.access.get(token.access_token, self.now)

    def revoke(self) -> None:
        self.access.clear()
        self.refresh.clear()

    def issue(self, *, with_refresh: bool) -> Token:
        number = next(_numbers)
        answer = {"access_token": f"access-{number}", "expires_in": int(ACCESS.total_seconds())}
        self.access[f"access-{number}"] = self.now + ACCESS
        if with_refresh:
            answer["refresh_token"] = f"refresh-{number}"
            self.refresh[f"refresh-{number}"] = (self.now + REFRESH, f"access-{number}")
            self.dies[f"refresh-{number}"] = self.now + REFRESH
        return Token.from_answer(answer, issued_at=self.now)

    def before(self) -> str | None:
        """What goes wrong with this request, if anything; the first half of it happens here."""
        fault, self.fault = self.fault, None
        if fault == "unreachable":
            raise GofundoConnectionError("unreachable", retry_in=0)
        if fault == "maintenance":
            raise GofundoApiError("maintenance", status=503)
        return fault

    def after(self, fault: str | None) -> None:
        if fault == "lost":
            raise GofundoConnectionError("lost", answer_lost=True)
        if fault == "failed":
            raise GofundoApiError("failed", status=500)
        if fault == "crash":
            raise Crash


class ModelGrant(Grant):
    """A grant over the model; `alone` can log in by itself, a chain cannot."""

    def __init__(self, server: Server, *, alone: bool, with_refresh: bool, seed: Token | None) -> None:
        super().__init__(settings_of())
        self._server, self._alone, self._with_refresh, self.seed = server, alone, with_refresh, seed

    def fetch(self) -> Token:
        if not self._alone:
            raise GofundoReauthorizationRequired("press Authorize")
        fault = self._server.before()
        token = self._server.issue(with_refresh=self._with_refresh)
        self._server.after(fault)
        return token

    def refresh(self, refresh_token: str) -> Token:
        server = self._server
        fault = server.before()
        server.seen.append(refresh_token)
        assert server.now < server.dies.get(refresh_token, server.now + REFRESH), "it was known to be dead"
        until, access = server.refresh.pop(refresh_token, (server.now, ""))
        if server.now >= until:
            raise GofundoAuthError("finished", error="invalid_request", status=401)
        server.access.pop(access, None)
        token = server.issue(with_refresh=True)
        server.after(fault)
        return token


class Cell:
    def __init__(self) -> None:
        self.text = ""

    def read(self) -> str:
        return self.text

    def write(self, text: str) -> None:
        self.text = text


class Workers(RuleBasedStateMachine):
    @initialize(kind=st.sampled_from(["client_credentials", "password", "chain", "seed"]))
    def begin(self, kind: str) -> None:
        self.server = Server()
        self.kind = kind
        self.token_cell, self.turn_cell = Cell(), Cell()
        first = self.server.issue(with_refresh=True) if kind in ("chain", "seed") else None
        self.seed = Token.seed(first.refresh_token or "", at=self.server.now) if first and kind == "seed" else None
        self.managers = [self.manager(), self.manager()]
        if first and kind == "chain":
            self.managers[0].adopt(first)
        if self.kind == "seed":
            self.server.dies.clear()  # nobody knows how old the one in the connection is

    def manager(self) -> TokenManager:
        grant = ModelGrant(
            self.server,
            alone=self.kind in ("client_credentials", "password"),
            with_refresh=self.kind == "password",
            seed=self.seed,
        )
        return TokenManager(
            grant,
            SharedTokenStore(self.token_cell, "fingerprint"),
            turn=Lease(self.turn_cell, life=90, clock=lambda: self.server.now, sleep=self.sleep),
            clock=lambda: self.server.now,
            sleep=self.sleep,
        )

    def sleep(self, seconds: float) -> None:
        self.server.now += timedelta(seconds=seconds)

    @rule(minutes=st.sampled_from([1, 29, 61, 60 * 24 * 7, 60 * 24 * 14]))
    def time_passes(self, minutes: int) -> None:
        self.server.now += timedelta(minutes=minutes)

    @rule()
    def the_server_revokes_everything(self) -> None:
        self.server.revoke()

    @rule(fault=st.sampled_from(FAULTS))
    def the_next_token_request_fails(self, fault: str) -> None:
        self.server.fault = fault

    @rule(worker=st.integers(0, 1))
    def a_worker_is_replaced(self, worker: int) -> None:
        self.managers[worker] = self.manager()

    @rule(text=st.sampled_from(["", "not ours", '{"version": 0}']))
    def somebody_writes_into_the_store(self, text: str) -> None:
        if self.kind != "seed":
            self.token_cell.text = text

    @rule(worker=st.integers(0, 1))
    def a_person_logs_in_again(self, worker: int) -> None:
        if self.kind == "chain":
            self.managers[worker].adopt(self.server.issue(with_refresh=True))

    @rule(worker=st.integers(0, 1))
    def a_worker_keeps_the_login_alive(self, worker: int) -> None:
        self.outcome(worker, lambda manager: manager.refresh())

    @rule(worker=st.integers(0, 1))
    def a_worker_sends_a_request(self, worker: int) -> None:
        began = self.server.now
        token = self.outcome(worker, lambda manager: manager.token())
        if token is None or self.server.accepts(token):
            return
        renewed = self.outcome(worker, lambda manager: manager.renew(token))
        if renewed is not None and not self.server.accepts(renewed):
            assert renewed.issued_at <= began, "a token minted just now is refused"

    def outcome(self, worker: int, call: object) -> Token | None:
        began, fault = self.server.now, self.server.fault
        alive = [token for token, (until, _) in self.server.refresh.items() if self.server.now < until]
        stored = self.managers[worker].state()
        assert callable(call)
        try:
            token = call(self.managers[worker])
            assert isinstance(token, Token)
        except Crash:
            assert fault == "crash"
            self.managers[worker] = self.manager()
        except GofundoReauthorizationRequired:
            assert self.kind in ("chain", "seed")
            was_ours = stored.refresh_token if stored else self.seed.refresh_token if self.seed else None
            assert fault is not None or was_ours not in alive, "the chain was alive, and nothing went wrong"
        except GofundoError:
            assert fault is not None, "an error although nothing went wrong"
            after = self.managers[worker].state()
            if fault in ("unreachable", "maintenance") and stored:
                assert after == stored, "an unused refresh token was lost"
        else:
            if token != stored and token.issued_at > began:
                assert self.managers[worker].state() == token, "a new token was not stored before its first use"
            return token
        return None

    def teardown(self) -> None:
        if hasattr(self, "server"):
            assert len(self.server.seen) == len(set(self.server.seen)), "a refresh token was sent twice"


TestWorkers = Workers.TestCase
TestWorkers.settings = hypothesis_settings(max_examples=150, stateful_step_count=40, deadline=None)
