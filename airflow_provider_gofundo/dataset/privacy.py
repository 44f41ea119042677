"""Privacy: personal fields of raw records, left out or replaced by pseudonyms. Everything else stays as it came."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

import msgspec
from msgspec import Raw

from airflow_provider_gofundo.exceptions import GofundoConfigError, GofundoResponseError, without_frames
from airflow_provider_gofundo.settings import LEAST_KEY_LENGTH

UnknownFields = Literal["error", "ignore"]

_EXCLUDE, _PSEUDONYMIZE = "exclude_fields", "pseudonymize_fields"
_OBJECT, _LIST, _TEXT, _NULL = b'{["n'

_read_object = msgspec.json.Decoder(dict[str, Raw]).decode
_read_list = msgspec.json.Decoder(list[Raw]).decode
_read_text = msgspec.json.Decoder(str).decode
_write = msgspec.json.Encoder().encode


@dataclass(kw_only=True, slots=True)
class _Field:
    """A name on a path. `argument` is the one that named it, "" where the path goes on to `inner` names."""

    path: str = ""
    argument: str = ""
    inner: dict[str, _Field] = field(default_factory=dict)
    found: bool = False
    missing: bool = False

    def each(self, members: Mapping[str, Raw]) -> bool:
        """Whether an object here is a list: so PHP writes one whose keys have gaps, as filtering leaves it."""
        return all(map(str.isdecimal, members)) and not any(map(str.isdecimal, self.inner))


class Privacy:
    """
    Leaves fields out of records (`exclude`) and replaces others by pseudonyms (`pseudonymize`).

    A path is field names with dots between them, such as `donor.email`. Where a list lies on the way it applies to
    each element: `lines.donor.email`. A field whose own name holds a dot cannot be named; exclude the one around it.

    A pseudonym is the HMAC-SHA256 of the value under `key`, in hex: of a text's UTF-8, of the JSON text of a number,
    true or false. Null stays null, a list becomes a list of pseudonyms. Equal values have equal pseudonyms under
    every path, in every list and run, as long as the key is the same.

    With `unknown="error"` a path that no record has is an error on the first page, before a record of it is
    returned. Null, an empty list or an empty object on its way tell nothing: as long as all records have one there,
    the path is asked about again on the next page.

    Objects on the way of a path are written anew, without white space, and of a key that comes twice the last stays.
    All other values keep their bytes.
    """

    @without_frames
    def __init__(
        self,
        *,
        exclude: Sequence[str] = (),
        pseudonymize: Sequence[str] = (),
        key: str | None = None,
        unknown: UnknownFields = "error",
    ) -> None:
        if unknown not in ("error", "ignore"):
            raise GofundoConfigError("unknown_fields must be error or ignore.")
        self._root = _Field()
        ways = [_add(self._root, _EXCLUDE, names) for names in _names(_EXCLUDE, exclude)]
        ways += [_add(self._root, _PSEUDONYMIZE, names) for names in _names(_PSEUDONYMIZE, pseudonymize)]
        self._asked = ways if unknown == "error" else []
        self._mac = _mac(key) if pseudonymize else None
        self._told = _write([sorted(exclude), sorted(pseudonymize)])

    def __reduce__(self) -> NoReturn:
        """Refuse: a pickle would hold the key. Pickle what this was made of."""
        raise TypeError("Privacy holds a key and is not pickled.")

    def fingerprint(self) -> str:
        """Return a word that changes with the fields and the key, and tells neither; for checkpoints."""
        return self._digest(self._told) if self._mac else hashlib.sha256(self._told).hexdigest()

    @without_frames
    def __call__(self, records: list[Raw]) -> list[Raw]:
        """
        Return the records of a page, each a JSON object on one line, without what is to be hidden.

        GofundoConfigError names a path that does not fit the records. No error quotes a value.
        """
        if not self._root.inner:
            return records
        hidden: list[Raw] = []
        try:
            for record in records:
                hidden.append(Raw(_write(self._hide(_read_object(record), self._root))))  # noqa: PERF401  # is counted
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            number = len(hidden) + 1
        else:
            self._require_known()
            return hidden
        raise GofundoResponseError(
            f"Record {number} of a page cannot be read, so its personal fields cannot be hidden: it is no JSON "
            "object, is nested too deeply, or holds text that is no Unicode."
        )

    def _hide(self, members: dict[str, Any], here: _Field) -> dict[str, Any]:
        for name, inner in here.inner.items():
            value = members.get(name)
            if value is None:  # a null of the record is the Raw of one
                inner.missing = True
                continue
            inner.found = True
            if inner.argument == _EXCLUDE:
                del members[name]
            elif inner.argument == _PSEUDONYMIZE:
                members[name] = self._pseudonym(value, inner)
            else:
                members[name] = self._hide_within(value, inner)
        return members

    def _hide_within(self, value: Raw, here: _Field) -> Any:
        kind = memoryview(value)[0]
        if kind == _NULL:
            return value
        if kind == _LIST:
            return [self._hide_within(element, here) for element in _read_list(value)]
        if kind == _OBJECT:
            members = _read_object(value)
            if here.each(members):
                return {name: self._hide_within(element, here) for name, element in members.items()}
            # PHP's list with a named key among its numbers is both: an object, and elements.
            return {
                name: self._hide_within(element, here) if _is_element(name, element) else element
                for name, element in self._hide(members, here).items()
            }
        ends = _ends(here)
        raise GofundoConfigError(
            f"{ends[0].argument} names {ends[0].path}, but {here.path} is a plain value in some records; "
            f"name {here.path} itself."
        )

    def _pseudonym(self, value: Raw, here: _Field) -> Any:
        kind = memoryview(value)[0]
        if kind == _TEXT:
            return self._digest(_read_text(value).encode())
        if kind == _NULL:
            return value
        if kind == _LIST:
            return [self._pseudonym(element, here) for element in _read_list(value)]
        if kind != _OBJECT:
            return self._digest(bytes(value))
        members = _read_object(value)
        if here.each(members):
            return {name: self._pseudonym(element, here) for name, element in members.items()}
        raise GofundoConfigError(
            f"{_PSEUDONYMIZE} names {here.path}, which holds an object in some records; name the fields in it, "
            f"or put {here.path} into {_EXCLUDE}."
        )

    def _digest(self, value: bytes) -> str:
        assert self._mac is not None  # noqa: S101  # there is one wherever a field asks for it
        mac = self._mac.copy()
        mac.update(value)
        return mac.hexdigest()

    def _require_known(self) -> None:
        self._asked = [way for way in self._asked if not way[-1].found]
        unknown = [way[-1] for way in self._asked if any(step.missing for step in way)]
        if unknown:
            paths = ", ".join(f"{end.path} ({end.argument})" for end in unknown)
            raise GofundoConfigError(
                f'No record has {paths}; correct the path, or allow it with unknown_fields="ignore".'
            )


def _is_element(name: str, value: Any) -> bool:
    return name.lstrip("-").isdigit() and isinstance(value, Raw) and memoryview(value)[0] in (_LIST, _OBJECT)


def check_paths(argument: str, paths: object) -> None:
    """GofundoConfigError unless it is a list of something."""
    if isinstance(paths, str) or not isinstance(paths, Sequence):
        raise GofundoConfigError(f'{argument} must be a list of paths, such as ["donor.email"].')


def _names(argument: str, paths: Sequence[str]) -> list[list[str]]:
    """The field names of each path, checked."""
    check_paths(argument, paths)
    for path in paths:
        if not isinstance(path, str):
            raise GofundoConfigError(f"{argument} must be a list of texts.")
        if not all(map(_is_name, path.split("."))):
            raise GofundoConfigError(
                f"{argument} holds {path!r}; write field names with dots between them, such as donor.email. "
                "Lists on the way need no sign."
            )
    return [path.split(".") for path in paths]


def _is_name(text: str) -> bool:
    # What other path languages write for a list or the root would else silently name nothing.
    is_sign = text in ("*", "$", "#") or text.endswith("]")
    return bool(text) and text == text.strip() and text.isprintable() and not is_sign


def _add(root: _Field, argument: str, names: Sequence[str]) -> tuple[_Field, ...]:
    """Put a path into the tree, and return its fields from the outermost on."""
    way = [root]
    for name in names:
        path = f"{way[-1].path}.{name}".lstrip(".")
        way.append(way[-1].inner.setdefault(name, _Field(path=path)))
    *above, end = way
    if end.argument and end.argument != argument:
        raise GofundoConfigError(f"{end.path} is in {_EXCLUDE} and in {_PSEUDONYMIZE}; leave it in one of them.")
    around = next((step for step in above if step.argument), None)
    if around:
        _refuse(around, argument, end.path)
    if end.inner:
        inside = _ends(end)[0]
        _refuse(_Field(path=end.path, argument=argument), inside.argument, inside.path)
    end.argument = argument
    return tuple(way[1:])


def _refuse(outer: _Field, argument: str, path: str) -> NoReturn:
    raise GofundoConfigError(
        f"{path} in {argument} lies inside {outer.path} in {outer.argument}; leave one of them out."
    )


def _ends(here: _Field) -> list[_Field]:
    """The fields that the paths through here end in."""
    return [here] if not here.inner else [end for inner in here.inner.values() for end in _ends(inner)]


def _mac(key: str | None) -> hmac.HMAC:
    if not key:
        raise GofundoConfigError(f"{_PSEUDONYMIZE} needs the Pseudonym key of the connection, which is empty.")
    if not isinstance(key, str) or len(key) < LEAST_KEY_LENGTH:
        raise GofundoConfigError(
            f"Pseudonym key of the connection must be a text of at least {LEAST_KEY_LENGTH} characters."
        )
    try:
        return hmac.new(key.encode(), digestmod=hashlib.sha256)
    except UnicodeEncodeError:
        pass  # it holds the key, and would be the context of what is raised here
    raise GofundoConfigError("Pseudonym key of the connection holds half a character; make another key.")
