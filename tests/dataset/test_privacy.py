"""What was to be hidden is nowhere in what comes out; everything else is there as it came; and no error tells."""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.dataset.privacy import Privacy
from airflow_provider_gofundo.exceptions import GofundoConfigError, GofundoError, GofundoResponseError
from airflow_provider_gofundo.pages.walk import walk
from tests.leaks import PSEUDONYM_KEY, exposed, leaks


def raw(*records: str) -> list[msgspec.Raw]:
    """A page with these records, cut from one body as those of the server are."""
    return msgspec.json.decode(f"[{','.join(records)}]".encode(), type=list[msgspec.Raw])


def hidden(record: str, **arguments: Any) -> str:
    """What becomes of one record, whatever it has of the fields."""
    (left,) = Privacy(**{"key": PSEUDONYM_KEY, "unknown": "ignore", **arguments})(raw(record))
    return bytes(left).decode()


def pseudonym(value: str, key: str = PSEUDONYM_KEY) -> str:
    return hmac.new(key.encode(), value.encode(), hashlib.sha256).hexdigest()


def fails(kind: type[GofundoError], privacy: Privacy, *records: str | bytes) -> str:
    """The text of exactly this error, on which nothing hangs that tells of the records."""
    page = [msgspec.Raw(record.encode() if isinstance(record, str) else record) for record in records]
    with pytest.raises(kind) as caught:
        privacy(page)
    assert type(caught.value) is kind
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    assert exposed(caught.value, ["ann@"]) == []
    assert "privacy.py" not in [Path(frame.path).name for frame in caught.traceback], "its locals hold the records"
    return str(caught.value)


# --- what stays ---------------------------------------------------------------------------------------------------


def test_without_fields_the_very_same_list_comes_back() -> None:
    page = raw('{"a": 1}')

    assert Privacy(key=PSEUDONYM_KEY)(page) is page


def test_everything_beside_the_paths_keeps_its_bytes_and_its_order() -> None:
    kept = r'"z":1.10,"n":123456789012345678901234567890,"s":"\u00df \/ ß","e":1E+2,"d":{ "x" : [1 , {"y":-0}] }'

    assert hidden("{" + kept + ',"phone":"06","a":null}', exclude=["phone"]) == "{" + kept + ',"a":null}'


def test_inside_an_object_on_the_way_as_well() -> None:
    record = r'{"b":1.10,"donor":{"z":"\u00df","email":"ann@example.org","a":[ 1.0 ]},"c":true}'

    assert hidden(record, exclude=["donor.email"]) == r'{"b":1.10,"donor":{"z":"\u00df","a":[ 1.0 ]},"c":true}'


def test_records_stay_one_a_line_in_their_order() -> None:
    page = raw(*(f'{{"id":{number},"x":1}}' for number in range(5)))

    assert Privacy(exclude=["x"])(page) == raw(*(f'{{"id":{number}}}' for number in range(5)))


def test_an_empty_page_is_an_empty_page() -> None:
    assert Privacy(exclude=["x"])([]) == []


# --- what is hidden -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "record", "left"),
    [
        ("phone", '{"phone":"06"}', "{}"),
        ("phone", '{"phone":{"home":["06"]},"id":1}', '{"id":1}'),
        ("donor.phone", '{"donor":{"phone":"06","id":1},"phone":"0"}', '{"donor":{"id":1},"phone":"0"}'),
        ("lines.donor.phone", '{"lines":[{"donor":{"phone":"06"}},{"id":1}]}', '{"lines":[{"donor":{}},{"id":1}]}'),
        ("lines.phone", '{"lines":[[{"phone":"06"}],null,[]]}', '{"lines":[[{}],null,[]]}'),
        ("lines.phone", '{"lines":{"0":{"phone":"06","id":1},"2":{}}}', '{"lines":{"0":{"id":1},"2":{}}}'),
        ("lines.2", '{"lines":{"2":"06","3":"x"}}', '{"lines":{"3":"x"}}'),
        ("lines.2", '{"lines":{"3":"x"}}', '{"lines":{"3":"x"}}'),
        ("naïef.é", '{"na\\u00efef":{"e\\u0301":1,"\\u00e9":"06"}}', '{"naïef":{"e\u0301":1}}'),
        ("donor.phone", '{"donor":null}', '{"donor":null}'),
        ("donor.phone", '{"donor":[]}', '{"donor":[]}'),
    ],
)
def test_an_excluded_field_vanishes(path: str, record: str, left: str) -> None:
    assert hidden(record, exclude=[path]) == left


@pytest.mark.parametrize(
    "record",
    [
        '{"email":"ann@example.org","email":"ann@example.org"}',
        '{"email":"ann@example.org","email":null}',
        r'{"em\u0061il":"ann@example.org"}',
        r'{"email":1,"em\u0061il":"ann@example.org"}',
        '{ "email" : "ann@example.org" }',
        '{"donor":{"email":"ann@example.org"},"donor":null}',
        '{"donor":{"email":"ann@example.org"},"donor":{"id":1}}',
        r'{"donor":{"em\u0061il":"ann@example.org","email":"ann@example.org"}}',
        '{"donor":[{"email":"ann@example.org"},[{"email":"ann@example.org"}]]}',
        '{"donor":{"7":{"email":"ann@example.org"},"9":{"email":["ann@example.org"]}}}',
    ],
)
@pytest.mark.parametrize("how", ["exclude", "pseudonymize"])
def test_no_way_of_writing_a_record_smuggles_a_value_past(record: str, how: str) -> None:
    left = hidden(record, **{how: ["email", "donor.email"]})

    assert "ann@example.org" not in left
    assert json.loads(left).keys() <= {"email", "donor"}


Fields = Mapping[str, "Fields | str"]

PATHS: Fields = {"a": "exclude", "b": {"a": "pseudonymize", "c": {"a": "exclude"}}}

SCALARS = st.none() | st.booleans() | st.integers() | st.text()
MEMBERS = st.sampled_from(["a", "b", "c", "d"])
NESTED = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBERS, inner, max_size=4), max_leaves=12
)


def model(value: Any, fields: Fields) -> Any:
    """The same over Python's own objects, told as plainly as can be; ValueError where it is an error."""
    if value is None:
        return None
    if isinstance(value, list):
        return [model(element, fields) for element in value]
    if not isinstance(value, dict):
        raise ValueError
    return {
        name: hide(inner, fields[name]) if name in fields else inner
        for name, inner in value.items()
        if fields.get(name) != "exclude"
    }


def hide(value: Any, what: Fields | str) -> Any:
    return named(value) if isinstance(what, str) else model(value, what)


def named(value: Any) -> Any:
    if isinstance(value, list):
        return [named(element) for element in value]
    if isinstance(value, dict) and value:
        raise ValueError
    if value is None or value == {}:
        return value
    return pseudonym(value if isinstance(value, str) else json.dumps(value))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(MEMBERS, NESTED, max_size=4), st.booleans())
def test_any_record_comes_out_as_the_plainest_telling_of_it_says(record: dict[str, Any], ascii_only: bool) -> None:
    privacy = Privacy(exclude=["a", "b.c.a"], pseudonymize=["b.a"], key=PSEUDONYM_KEY, unknown="ignore")
    try:
        expected = model(record, PATHS)
    except ValueError:
        with pytest.raises(GofundoConfigError):
            privacy(raw(json.dumps(record, ensure_ascii=ascii_only)))
    else:
        (left,) = privacy(raw(json.dumps(record, ensure_ascii=ascii_only)))
        assert json.loads(bytes(left)) == expected


# --- pseudonyms ---------------------------------------------------------------------------------------------------


def test_a_pseudonym_is_what_anybody_with_the_key_computes() -> None:
    assert json.loads(hidden('{"email":"Jefe"}', pseudonymize=["email"], key="key-of-16-letters")) == {
        "email": "14d9f2684d49838c2988d957e239502ed111e9e110fc0cf5d50557cb62f24194"
    }


@pytest.mark.parametrize(
    ("value", "of"),
    [
        (r'"\u00e9"', "é"),
        ('"é"', "é"),
        (r'"\ud83d\ude00 \/ \n"', "😀 / \n"),
        ('""', ""),
        ("12", "12"),
        ('"12"', "12"),
        ("1.10", "1.10"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("true", "true"),
        ("false", "false"),
    ],
)
def test_a_plain_value_has_the_pseudonym_of_its_text(value: str, of: str) -> None:
    assert hidden(f'{{"x":{value}}}', pseudonymize=["x"]) == f'{{"x":"{pseudonym(of)}"}}'


@pytest.mark.parametrize("value", ["null", "[]", "{}", "[null,[]]"])
def test_where_there_is_nothing_it_stays_so(value: str) -> None:
    assert hidden(f'{{"x":{value}}}', pseudonymize=["x"]) == f'{{"x":{value}}}'


def test_a_list_of_plain_values_becomes_a_list_of_pseudonyms() -> None:
    left = json.loads(hidden('{"x":["a",null,["b",7]],"y":{"3":"a"}}', pseudonymize=["x", "y"]))

    assert left == {"x": [pseudonym("a"), None, [pseudonym("b"), pseudonym("7")]], "y": {"3": pseudonym("a")}}


def test_equal_values_have_equal_pseudonyms_wherever_they_stand() -> None:
    one = json.loads(hidden('{"email":"ann@example.org"}', pseudonymize=["email"]))
    other = json.loads(hidden('{"lines":[{"who":"ann@example.org"}]}', pseudonymize=["lines.who"], exclude=["x"]))

    assert one["email"] == other["lines"][0]["who"]


def test_another_key_gives_other_pseudonyms() -> None:
    record = '{"email":"ann@example.org"}'

    assert hidden(record, pseudonymize=["email"]) != hidden(record, pseudonymize=["email"], key="another" * 3)


@pytest.mark.parametrize("value", ['{"home":"ann@example.org"}', '["x",{"home":"ann@example.org"}]', '{"7":{"a":1}}'])
def test_an_object_under_a_pseudonymised_path_is_an_error(value: str) -> None:
    privacy = Privacy(pseudonymize=["donor.email"], key=PSEUDONYM_KEY)

    text = fails(GofundoConfigError, privacy, f'{{"donor":{{"email":{value}}}}}')

    assert text == (
        "pseudonymize_fields names donor.email, which holds an object in some records; name the fields in it, "
        "or put donor.email into exclude_fields."
    )


# --- paths that do not fit ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ['"ann@example.org"', "7", "true", '["ann@example.org"]', '{"1":"ann@example.org"}', '[[null,"x"]]']
)
def test_a_plain_value_on_the_way_is_an_error_even_where_paths_may_be_unknown(value: str) -> None:
    privacy = Privacy(exclude=["donor.home.phone"], unknown="ignore")

    text = fails(GofundoConfigError, privacy, '{"donor":null}', f'{{"donor":{value}}}')

    assert text == (
        "exclude_fields names donor.home.phone, but donor is a plain value in some records; name donor itself."
    )


def test_a_path_that_no_record_of_the_first_page_has_is_named() -> None:
    privacy = Privacy(exclude=["donor.fone", "id"], pseudonymize=["email"], key=PSEUDONYM_KEY)

    text = fails(GofundoConfigError, privacy, '{"id":1,"donor":{"phone":"ann@"}}', '{"donor":null}')

    assert text == (
        "No record has donor.fone (exclude_fields), email (pseudonymize_fields); correct the path, "
        'or allow it with unknown_fields="ignore".'
    )


def test_an_unknown_path_may_be_allowed() -> None:
    assert Privacy(exclude=["x", "y.z"], unknown="ignore")(raw('{"a":1}')) == raw('{"a":1}')


def test_a_field_that_some_record_has_is_known_from_then_on() -> None:
    privacy = Privacy(exclude=["donor.phone"])

    assert privacy(raw('{"id":1}', '{"donor":{"phone":null}}')) == raw('{"id":1}', '{"donor":{}}')
    assert privacy(raw('{"id":2}', '{"donor":{}}')) == raw('{"id":2}', '{"donor":{}}')


NOTHING = ('{"donor":null}', '{"donor":[]}', '{"donor":{}}', '{"donor":[null]}')


def test_a_path_that_ends_in_nothing_everywhere_is_asked_about_again() -> None:
    privacy = Privacy(exclude=["donor.phone"])

    assert privacy([]) == []
    assert privacy(raw(*NOTHING)) == raw(*NOTHING)
    assert privacy(raw(NOTHING[0], '{"donor":{"phone":"06"}}')) == raw(NOTHING[0], '{"donor":{}}')
    assert privacy(raw('{"id":1}')) == raw('{"id":1}')


@pytest.mark.parametrize("record", ['{"donor":{"email":"ann@"}}', '{"id":1}'])
def test_and_is_unknown_once_a_record_could_have_had_it(record: str) -> None:
    privacy = Privacy(exclude=["donor.phone"])
    privacy(raw(*NOTHING))

    assert "No record has donor.phone" in fails(GofundoConfigError, privacy, *NOTHING, record)
    assert "No record has donor.phone" in fails(
        GofundoConfigError, Privacy(exclude=["donor.phone"]), record, *NOTHING
    )


# --- records that cannot be read ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "record",
    [
        b'{"email":"ann@example.org\xff"}',
        b'{"ann@example.org\xff":1}',
        b'{"email":"\xed\xa0\x80ann@example.org"}',
        rb'{"email":"ann@example.org\ud800"}',
        rb'{"ann@example.org\ud800":1}',
        b'["ann@example.org"]',
        b'"ann@example.org"',
        b'{"email":"ann@example.org"',
        b'{"email":' + b"[" * 5000 + b'"ann@example.org"' + b"]" * 5000 + b"}",
        b"",
    ],
    ids=range(10),
)
def test_a_record_that_cannot_be_read_is_an_error_that_does_not_quote_it(record: bytes) -> None:
    privacy = Privacy(pseudonymize=["email"], key=PSEUDONYM_KEY, unknown="ignore")

    text = fails(GofundoResponseError, privacy, '{"email":"ann@example.org"}', record)

    assert text.startswith("Record 2 of a page cannot be read")


# --- arguments ----------------------------------------------------------------------------------------------------

KEY: dict[str, Any] = {"key": PSEUDONYM_KEY}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"exclude": "donor.phone"}, "exclude_fields must be a list of paths"),
        ({"pseudonymize": "email", **KEY}, "pseudonymize_fields must be a list of paths"),
        ({"exclude": {"donor": "phone"}}, "exclude_fields must be a list of paths"),
        ({"exclude": None}, "exclude_fields must be a list of paths"),
        ({"exclude": ["phone", 7]}, "exclude_fields must be a list of texts"),
        *(
            ({"exclude": ["id", path]}, f"exclude_fields holds {path!r}; write field names with dots between them")
            for path in ("", ".", "a.", ".a", "a..b", " a", "a. b", "a\n", "\ud800", "a.*.b", "a[].b", "a[0]", "$.a")
        ),
        ({"exclude": ["a.b"], "pseudonymize": ["a.b"], **KEY}, "a.b is in exclude_fields and in pseudonymize_fields"),
        ({"exclude": ["a", "a.b"]}, "a.b in exclude_fields lies inside a in exclude_fields"),
        ({"exclude": ["a.b.c", "a"]}, "a.b.c in exclude_fields lies inside a in exclude_fields"),
        ({"exclude": ["a.b"], "pseudonymize": ["a"], **KEY}, "a.b in exclude_fields lies inside a in pseudonymize_"),
        (
            {"exclude": ["a"], "pseudonymize": ["a.b.c"], **KEY},
            "a.b.c in pseudonymize_fields lies inside a in exclude",
        ),
        ({"pseudonymize": ["email"]}, "pseudonymize_fields needs the Pseudonym key of the connection"),
        ({"pseudonymize": ["email"], "key": ""}, "pseudonymize_fields needs the Pseudonym key of the connection"),
        ({"pseudonymize": ["email"], "key": PSEUDONYM_KEY[:15]}, "Pseudonym key of the connection must be a text of"),
        (
            {"pseudonymize": ["email"], "key": PSEUDONYM_KEY.encode()},
            "Pseudonym key of the connection must be a text",
        ),
        ({"pseudonymize": ["email"], "key": PSEUDONYM_KEY + "\ud800"}, "Pseudonym key of the connection holds half"),
        ({"unknown": "warn"}, "unknown_fields must be error or ignore"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(GofundoConfigError) as caught:
        Privacy(**arguments)

    assert str(caught.value).startswith(says)
    assert caught.value.__context__ is None
    assert exposed(caught.value, [PSEUDONYM_KEY[:15]]) == []


def test_sixteen_characters_are_a_key_and_a_key_alone_asks_nothing_of_it() -> None:
    Privacy(pseudonymize=("email",), key="x" * 16)
    Privacy(exclude=("email", "email"), key="short")


def test_the_key_is_in_nothing_that_can_be_printed_or_stored() -> None:
    privacy = Privacy(pseudonymize=["email"], key=PSEUDONYM_KEY)
    privacy(raw('{"email":"ann@example.org"}'))

    assert PSEUDONYM_KEY not in repr(privacy) + repr(vars(privacy))
    assert "ann@" not in repr(vars(privacy))
    for store in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="Privacy holds a key and is not pickled"):
            store(privacy)


def test_the_fingerprint_changes_with_fields_and_key_and_with_nothing_else() -> None:
    def of(**arguments: Any) -> str:
        return Privacy(**arguments).fingerprint()

    same = of(exclude=["a", "b"], pseudonymize=["c"], **KEY)

    assert of(exclude=("b", "a"), pseudonymize=["c"], unknown="ignore", **KEY) == same
    assert of(exclude=["a"], **KEY) == of(exclude=["a"], key="another" * 3) == of(exclude=["a"])
    others = [
        of(exclude=["a", "b"], pseudonymize=["c"], key="another" * 3),
        of(exclude=["a"], pseudonymize=["b", "c"], **KEY),
        of(exclude=["a", "b", "c"]),
        of(exclude=["a"]),
        of(),
    ]
    assert len({same, *others}) == 6


# --- over a server ------------------------------------------------------------------------------------------------


def test_two_lists_without_a_donors_address_can_still_be_joined(client: GofundoClient) -> None:
    def pulled(endpoint: str, **arguments: Any) -> list[dict[str, Any]]:
        privacy = Privacy(**arguments, **KEY)
        pages = [privacy(page.records) for page in walk(client, endpoint, query_params={"per_page": 15})]
        assert len(pages) > 2
        return [msgspec.json.decode(record) for page in pages for record in page]

    donations = pulled("api/donations", exclude=["donor_name"], pseudonymize=["donor_email"])
    donors = {donor["email"]: donor for donor in pulled("api/donors", exclude=["name"], pseudonymize=["email"])}

    assert leaks([json.dumps([donations, donors])], ["example.org"]) == []
    known = [donation for donation in donations if donation["donor_email"]]
    assert len(known) == 32
    assert all(donors[donation["donor_email"]]["id"] == donation["id"] for donation in known)
    assert pseudonym("donor7@example.org") in donors


@pytest.mark.parametrize("key", ["0", "17", "-1"])
def test_elements_of_a_list_that_php_gave_a_named_key_are_hidden_too(key: str) -> None:
    privacy = Privacy(exclude=["lines.email"])
    privacy([msgspec.Raw(b'{"lines":[{"email":"a@x"}]}')])

    (record,) = privacy([msgspec.Raw(b'{"lines":{"%b":{"email":"a@x"},"total":1}}' % key.encode())])

    assert b"a@x" not in bytes(record)
    assert json.loads(bytes(record))["lines"]["total"] == 1
