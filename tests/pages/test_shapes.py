"""Every shape of a list is told apart by its keys; whatever is no list is refused, and never half read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.exceptions import GofundoApiError, GofundoError, GofundoResponseError
from airflow_provider_gofundo.pages.shapes import Page, Step, read_page
from tests.fixtures import ClientOf
from tests.replay import TRANSCRIPTS, Answer, Replay, recorded, replay_server, transcript

AFTER_2 = Step("cursor", "eyJpZCI6MiwiX3BvaW50c1RvTmV4dEl0ZW1zIjp0cnVlfQ")
AFTER_3 = Step("cursor", "eyJpZCI6MywiX3BvaW50c1RvTmV4dEl0ZW1zIjp0cnVlfQ")
PAGE_2, PAGE_3 = Step("page", "2"), Step("page", "3")

# case: (records, next, total, last_page, per_page)
LISTS: dict[str, tuple[int, Step | None, int | None, int | None, int | None]] = {
    "e_all": (2, None, None, None, None),
    "e_all_empty": (0, None, None, None, None),
    "e_all_resource": (2, None, None, None, None),
    "e_all_resource_empty": (0, None, None, None, None),
    "e_cursor_bad_cursor": (2, AFTER_2, None, None, 2),
    "e_cursor_empty": (0, None, None, None, 2),
    "e_cursor_first": (2, AFTER_2, None, None, 2),
    "e_cursor_keep_query": (1, AFTER_3, None, None, 1),
    "e_cursor_last": (2, None, None, None, 2),
    "e_cursor_lost_query": (1, AFTER_3, None, None, 1),
    "e_cursor_resource_bad_cursor": (2, AFTER_2, None, None, 2),
    "e_cursor_resource_empty": (0, None, None, None, 2),
    "e_cursor_resource_first": (2, AFTER_2, None, None, 2),
    "e_cursor_resource_keep_query": (1, AFTER_3, None, None, 1),
    "e_cursor_resource_last": (2, None, None, None, 2),
    "e_cursor_resource_lost_query": (1, AFTER_3, None, None, 1),
    "e_filtered_keys": (2, None, None, None, None),
    "e_lap_beyond": (0, None, 5, 3, 2),
    "e_lap_empty": (0, None, 0, 1, 2),
    "e_lap_exact_multiple_last": (2, None, 4, 2, 2),
    "e_lap_first": (2, PAGE_2, 1005, 503, 2),
    "e_lap_keep_query": (1, PAGE_2, 3, 3, 1),
    "e_lap_last": (1, None, 5, 3, 2),
    "e_lap_lost_query": (1, PAGE_2, 3, 3, 1),
    "e_lap_middle": (2, PAGE_3, 6, 3, 2),
    "e_lap_page_0": (1, PAGE_2, 1005, 1005, 1),
    "e_lap_page_abc": (1, PAGE_2, 1005, 1005, 1),
    "e_lap_resource_beyond": (0, None, 5, 3, 2),
    "e_lap_resource_empty": (0, None, 0, 1, 2),
    "e_lap_resource_exact_multiple_last": (2, None, 4, 2, 2),
    "e_lap_resource_first": (2, PAGE_2, 1005, 503, 2),
    "e_lap_resource_keep_query": (1, PAGE_2, 3, 3, 1),
    "e_lap_resource_last": (1, None, 5, 3, 2),
    "e_lap_resource_lost_query": (1, PAGE_2, 3, 3, 1),
    "e_lap_resource_middle": (2, PAGE_3, 6, 3, 2),
    "e_lap_resource_page_0": (1, PAGE_2, 1005, 1005, 1),
    "e_lap_resource_page_abc": (1, PAGE_2, 1005, 1005, 1),
    "e_simple_beyond": (0, None, None, None, 2),
    "e_simple_empty": (0, None, None, None, 2),
    "e_simple_exact_multiple_last": (2, None, None, None, 2),
    "e_simple_first": (2, PAGE_2, None, None, 2),
    "e_simple_keep_query": (1, PAGE_2, None, None, 1),
    "e_simple_last": (1, None, None, None, 2),
    "e_simple_lost_query": (1, PAGE_2, None, None, 1),
    "e_simple_middle": (2, PAGE_3, None, None, 2),
    "e_simple_page_0": (1, PAGE_2, None, None, 1),
    "e_simple_page_abc": (1, PAGE_2, None, None, 1),
    "e_simple_resource_beyond": (0, None, None, None, 2),
    "e_simple_resource_empty": (0, None, None, None, 2),
    "e_simple_resource_exact_multiple_last": (2, None, None, None, 2),
    "e_simple_resource_first": (2, PAGE_2, None, None, 2),
    "e_simple_resource_keep_query": (1, PAGE_2, None, None, 1),
    "e_simple_resource_last": (1, None, None, None, 2),
    "e_simple_resource_lost_query": (1, PAGE_2, None, None, 1),
    "e_simple_resource_middle": (2, PAGE_3, None, None, 2),
    "e_simple_resource_page_0": (1, PAGE_2, None, None, 1),
    "e_simple_resource_page_abc": (1, PAGE_2, None, None, 1),
}
ITEMS = ("e_single_raw", "e_single_resource")
ERRORS = ("e_cursor_foreign_cursor", "e_cursor_resource_foreign_cursor")

Read = Callable[[bytes | str], Page]


@pytest.fixture(scope="module")
def server() -> Iterator[Replay]:
    with replay_server() as running:
        yield running


@pytest.fixture
def replay(server: Replay) -> Replay:
    """One server for all tests here, with nothing to answer yet."""
    server.answers.clear()
    return server


@pytest.fixture
def once(replay: Replay, client_of: ClientOf) -> GofundoClient:
    """A client of the replaying server that tries once."""
    return client_of(replay.url, extra={"max_attempts": 1})


@pytest.fixture
def read(replay: Replay, once: GofundoClient) -> Read:
    """Read a page from a body that the server sends."""

    def answer(body: bytes | str) -> Page:
        headers = {"Content-Type": "application/json", "Connection": "close"}
        replay.answers[:] = [Answer(headers=headers, body=body.encode() if isinstance(body, str) else body)]
        return once.fetch("GET", "api/list", read_page)

    return answer


def texts(page: Page) -> list[str]:
    return [bytes(record).decode() for record in page.records]


def test_every_recorded_list_has_its_row_in_the_table() -> None:
    assert {*LISTS, *ITEMS, *ERRORS} == {file.stem for file in TRANSCRIPTS.glob("e_*.json")}


@pytest.mark.parametrize("case", LISTS)
def test_a_recorded_list_is_read_with_its_place_in_the_whole(case: str, replay: Replay, once: GofundoClient) -> None:
    records, following, total, last_page, per_page = LISTS[case]
    replay.answer(recorded(case))

    page = once.fetch("GET", "api/list", read_page)

    assert (len(page.records), page.next, page.total, page.last_page, page.per_page) == (
        records, following, total, last_page, per_page,
    )  # fmt: skip


@pytest.mark.parametrize("case", LISTS)
def test_a_recorded_record_stays_as_the_server_wrote_it(case: str, replay: Replay, once: GofundoClient) -> None:
    body = transcript(case)["response"]["body"]
    data = body["data"] if isinstance(body, dict) and "data" in body else body
    values = list(data.values()) if isinstance(data, dict) else data
    replay.answer(recorded(case))

    page = once.fetch("GET", "api/list", read_page)

    assert texts(page) == [json.dumps(value, separators=(",", ":")).replace("/", "\\/") for value in values]


@pytest.mark.parametrize("case", ITEMS)
def test_one_item_is_refused_with_a_hint_where_it_belongs(case: str, replay: Replay, once: GofundoClient) -> None:
    replay.answer(recorded(case))

    with pytest.raises(
        GofundoResponseError, match=r"GET api/list answered 200.*it is one item.*GofundoOperator"
    ) as e:
        once.fetch("GET", "api/list", read_page)

    assert (e.value.status, e.value.method, e.value.path, e.value.retry_in) == (200, "GET", "api/list", None)


@pytest.mark.parametrize("case", ERRORS)
def test_a_readable_cursor_of_another_list_is_an_error_of_the_server(
    case: str, replay: Replay, once: GofundoClient
) -> None:
    replay.answer(recorded(case))

    with pytest.raises(GofundoApiError, match="answered 500"):
        once.fetch("GET", "api/list", read_page)


def test_a_filtered_collection_gives_its_values_in_order(replay: Replay, once: GofundoClient) -> None:
    replay.answer(recorded("e_filtered_keys"))

    page = once.fetch("GET", "api/list", read_page)

    assert [json.loads(record)["id"] for record in texts(page)] == [2, 4]


def test_a_filtered_collection_without_an_envelope_gives_its_values_too(read: Read) -> None:
    assert texts(read('{"1":{"id":2},"3":{"id":4},"10":{"id":11}}')) == ['{"id":2}', '{"id":4}', '{"id":11}']


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("{}", "it is one item"),
        ('{"message":"fine"}', "it is one item"),
        ('{"id":1,"total":"79.19","meta":null,"links":5}', "it is one item"),
        ('{"data":{}}', "it is one item"),
        ('{"data":{"1":{"id":1},"name":"x"}}', "it is one item"),
        ('"text"', "it is a single value"),
        ("null", "it is a single value"),
        ("3", "it is a single value"),
        ("true", "it is a single value"),
        ("[1,2]", "some of its records are no objects"),
        ('[{"id":1},[]]', "some of its records are no objects"),
        ('[{"id":1},null]', "some of its records are no objects"),
        ('{"data":5}', "its data is a single value"),
        ('{"data":null}', "its data is a single value"),
        ('{"data":"[]"}', "its data is a single value"),
        ('{"data":{"1":5}}', "some of its records are no objects"),
        ('{"data":[],"next_page_url":7}', "values of another type"),
        ('{"data":[],"links":{"next":{}}}', "values of another type"),
        ('{"data":[],"total":"many"}', "values of another type"),
        ('{"data":[],"meta":{"last_page":[]}}', "values of another type"),
        ('{"data":[],"next_page_url":"https://example.org/api/list?offset=20"}', "neither page nor cursor"),
        ('{"data":[],"next_page_url":"https://example.org/api/list?page="}', "neither page nor cursor"),
        ('{"data":[],"links":{"next":"https://example.org/api/list?page%5Bnumber%5D=2"}}', "neither page nor cursor"),
    ],
)  # fmt: skip
def test_what_is_no_list_is_refused_once_and_for_all(body: str, says: str, read: Read) -> None:
    with pytest.raises(GofundoResponseError, match=rf"but no list of records: .*{says}") as refused:
        read(body)

    assert refused.value.retry_in is None


@pytest.mark.parametrize(
    "body",
    [
        '{"data":[{"id":1}],"current_page":1,"last_page":2,"next_page_url":null}',
        '{"data":[{"id":1}],"meta":{"current_page":1,"last_page":2,"total":2}}',
        '{"data":[{"id":1}],"links":{"next":null},"meta":{"current_page":1,"last_page":2}}',
        '{"data":[{"id":1}],"meta":{"pagination":{"total":2,"links":{"next":"https://example.org/api/list?page=2"}}}}',
        '{"data":[{"id":1}],"pagination":{"next":"https://example.org/api/list?page=2"}}',
    ],
)
def test_a_page_that_hides_the_way_to_the_next_is_not_taken_for_the_whole_list(body: str, read: Read) -> None:
    with pytest.raises(GofundoResponseError, match="no list of records"):
        read(body)


def test_the_per_page_of_a_simple_list_may_be_text(read: Read) -> None:
    assert read('{"data":[],"per_page":"25","next_page_url":null}').per_page == 25


def test_a_step_comes_out_of_the_link_decoded(read: Read) -> None:
    page = read('{"data":[{"id":1}],"next_page_url":"http:\\/\\/x\\/?a=1&cursor=a%2Bb%3D%26\\u00fc&per_page=1"}')

    assert page.next == Step("cursor", "a+b=&ü")


@pytest.mark.parametrize("link", ["/?page=2", "http://127.0.0.1:1/?page=2#page=9", "https://[example.org/api?page=2"])
def test_of_a_link_nothing_but_the_step_matters(link: str, read: Read) -> None:
    assert read(f'{{"data":[{{"id":1}}],"next_page_url":"{link}"}}').next == Step("page", "2")


PRETTY = r"""
{
    "data": [
        {
            "id": 123456789012345678901234567890,
            "amount": 1.10,
            "small": 1E-7,
            "paid_at": null,
            "street": "Stra\u00dfe \/ ß",
            "note": "two\nlines, a \"quote\",  two spaces : and a tab\t"
        },
        { "id":	2, "tags": [ ], "meta": { } }
    ]
}
"""
ON_ONE_LINE = [
    r"""{"id":123456789012345678901234567890,"amount":1.10,"small":1E-7,"paid_at":null,"street":"Stra\u00dfe \/ ß","note":"two\nlines, a \"quote\",  two spaces : and a tab\t"}""",
    '{"id":2,"tags":[],"meta":{}}',
]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_pretty_printed_record_comes_on_one_line_with_every_value_untouched(line_end: str, read: Read) -> None:
    assert texts(read(PRETTY.replace("\n", line_end))) == ON_ONE_LINE


def test_white_space_without_a_line_break_is_left_alone(read: Read) -> None:
    assert texts(read(' [ {"id" : 1} , {"id":\t2} ] ')) == ['{"id" : 1}', '{"id":\t2}']


@pytest.mark.parametrize(
    "character", ["\n", "\r", "\t", "\x00", "\x0b", "\x1f"], ids=lambda character: f"{ord(character):02x}"
)
@pytest.mark.parametrize("around", ['[{{"id":"a{}b"}}]', '[{{"a{}b":1}}]', '{{"data":\n[{{"id":"a{}b"}}]}}'])
def test_a_raw_control_character_in_a_string_is_refused(around: str, character: str, read: Read) -> None:
    with pytest.raises(GofundoResponseError, match="broken JSON"):
        read(around.format(character))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"[",
        b'{"data":[{"id":1}',
        b'[{"id":1},]',
        b'[{"id":1}] [',
        b'[{"id":1}]\x00',
        b'[{"id":01}]',
        b'[{"id":NaN}]',
        b'[{"name":"\xff"}]',
        b'[{"name":"Zo\xeb"}]',
        b'[{"name":"\xed\xa0\x80"}]',
        b'[{"name":"\\ud83d"}]',
        b'\xef\xbb\xbf[{"id":1}]',
        '[{"id":1}]'.encode("utf-16"),
    ],
    ids=ascii,
)
def test_broken_json_is_refused_as_damaged_and_may_be_asked_again(body: bytes, read: Read) -> None:
    with pytest.raises(GofundoResponseError, match="broken JSON") as refused:
        read(body)

    assert refused.value.retry_in == 0


def test_deep_nesting_is_refused_and_does_not_end_the_process(read: Read) -> None:
    with pytest.raises(GofundoError):
        read(b'[{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}]")


def test_nesting_that_anybody_can_read_is_passed_on(read: Read) -> None:
    record = '{"a":' + "[" * 200 + "]" * 200 + "}"

    assert texts(read(f"[{record}]")) == [record]


VALID = (
    b'{"data":[{"id":1,"n":-1.50e3,"s":"a\\n\\u00df\\/\xc3\x9f"},{"id":2,"x":[{},null,true]}],"links":{"next":null},'
    b'"meta":{"current_page":1,"last_page":1,"per_page":2,"total":2}}'
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    damage=st.lists(
        st.tuples(st.integers(0, len(VALID)), st.integers(0, 3), st.binary(max_size=2) | st.just(b"\n")), max_size=3
    )
)
def test_no_damage_makes_a_record_that_is_not_one_line_of_json(
    damage: list[tuple[int, int, bytes]], read: Read
) -> None:
    body = VALID
    for start, removed, inserted in damage:
        body = body[:start] + inserted + body[start + removed :]
    try:
        page = read(body)
    except GofundoResponseError:
        return

    whole = json.loads(body)
    data = whole["data"] if isinstance(whole, dict) and "data" in whole else whole
    assert [json.loads(record) for record in texts(page)] == (list(data.values()) if isinstance(data, dict) else data)
    assert not any("\n" in record or "\r" in record for record in texts(page))
