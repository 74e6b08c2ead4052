"""What keeper, issuer and courier say to each other: nothing is lost, nothing is guessed, nothing is quoted."""

import json
import traceback
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import timedelta
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecrlogind.core import wire
from ecrlogind.core.codec import WireError, decode, encode
from ecrlogind.core.credential import Secret
from ecrlogind.core.identity import Identity
from ecrlogind.core.wire import Answer, Call, Errand, Issued, Question, Refused, Report, decode_answer, encode_answer

ANSWERS = typing.get_args(Answer)
MESSAGES = [
    kind
    for kind in vars(wire).values()
    if isinstance(kind, type) and is_dataclass(kind) and kind.__module__ in (wire.__name__, Identity.__module__)
]

# A float holds every microsecond up to here, so spans come back as they were.
spans = st.timedeltas(timedelta(days=-4000), timedelta(days=4000))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def values(kind):
    """Make values of a type that a message may hold."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*map(values, arguments))
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if origin is Mapping:
        return st.dictionaries(texts, values(arguments[1]), max_size=3)
    if is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return st.builds(kind, **{field.name: values(hints[field.name]) for field in fields(kind)})
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return st.sampled_from(list(kind))
    return {
        str: texts,
        bool: st.booleans(),
        int: st.integers(-(2**63), 2**63),
        Secret: texts.map(Secret),
        timedelta: spans,
        types.NoneType: st.none(),
    }[kind]


def test_the_messages_are_all_here():
    assert {Question, Errand, Report, *ANSWERS} <= set(MESSAGES)


@pytest.mark.parametrize("kind", MESSAGES)
@given(st.data())
def test_a_message_arrives_as_it_was_sent(kind, data):
    message = data.draw(values(kind))

    line = encode(message)

    assert decode(kind, line) == message
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert line.isascii()


@pytest.mark.parametrize("kind", ANSWERS)
@given(st.data())
def test_an_answer_arrives_as_what_it_was(kind, data):
    answer = data.draw(values(kind))

    got = decode_answer(encode_answer(answer))

    assert type(got) is kind
    assert got == answer


def places(value, path=()):
    """Yield where every value inside of *value* stands."""
    if path:
        yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for index in range(len(value)):
            yield from places(value[index], (*path, index))


def at(value, path):
    for key in path:
        value = value[key]
    return value


CANARY = "canary-7f3a"
FULL = Question(
    calls=(Call(Identity(profile=CANARY, roles=(CANARY,), duration=timedelta(hours=1)), "eu-west-1"),),
    deadline=timedelta(seconds=20),
    probes=(wire.Probe(CANARY, CANARY, Secret(CANARY), images=(CANARY,)),),
    aws=wire.Aws(endpoints={CANARY: CANARY}, ca=CANARY, proxy=CANARY),
    environment={"AWS_SECRET_ACCESS_KEY": CANARY},
    files={"AWS_CONFIG_FILE": CANARY},
)
ERRAND = Errand(CANARY, CANARY, {CANARY: Secret(CANARY)}, timedelta(1), delivered={CANARY: (CANARY,)}, mode=0o600)


def is_free(path):
    """Tell whether a key stands in a mapping of ours, whose keys are data."""
    return len(path) > 1 and path[-2] in ("endpoints", "environment", "files", "logins", "delivered")


@pytest.mark.parametrize(
    "message", [FULL, ERRAND, Report(notes=(wire.Refusal("a", "b", "c"),))], ids=lambda m: type(m).__name__
)
def test_each_key_must_be_there_with_its_own_type(message):
    for path in places(json.loads(encode(message))):
        *above, last = path

        if isinstance(last, str) and not is_free(path):
            missing = json.loads(encode(message))
            del at(missing, above)[last]
            refused(type(message), missing)

        other = json.loads(encode(message))
        at(other, above)[last] = [{}] if not isinstance(at(other, path), list) else {}
        refused(type(message), other)


def refused(kind, content):
    with pytest.raises(WireError) as caught:
        decode(kind, json.dumps(content).encode())
    assert CANARY not in shown(caught.value)


def shown(error):
    """Return all that a log could show of an error, its causes and contexts too, but for the code's own lines."""
    parts = []
    while error is not None:
        parts.append(repr(error) + str(error) + "".join(traceback.format_exception_only(error)))
        error = error.__cause__ or error.__context__
    return "\n".join(parts)


def test_a_key_too_many_is_refused():
    content = json.loads(encode(FULL))
    content["aws"][CANARY] = CANARY

    refused(Question, content)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("deadline", True),
        ("deadline", "20"),
        ("deadline", 1e300),
        ("deadline", float("nan")),
        ("deadline", float("inf")),
        ("instance", 1),
        ("instance", None),
        ("calls", {}),
        ("environment", {"a": 1}),
        ("environment", None),
    ],
)
def test_nothing_is_taken_for_something_near(key, value):
    refused(Question, json.loads(encode(FULL)) | {key: value})


def test_a_number_is_no_truth_value_and_a_truth_value_no_number():
    errand = json.loads(encode(ERRAND))

    refused(Errand, errand | {"mode": True})
    refused(Errand, errand | {"mode": 384.0})
    refused(Errand, errand | {"watch": 1})
    refused(Report, json.loads(encode(Report())) | {"found": {"a": {"was": "stolen"}}})


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"null",
        b"[]",
        b"{}",
        b'"' + CANARY.encode() + b'"',
        b'{"' + CANARY.encode(),
        b'{"a": "' + CANARY.encode() + b'"}',
        b'{"Issued": "' + CANARY.encode() + b'"}',
        b'{"Issued": {}, "Refused": {}}',
        b'{"Answer": {}}',
        b"\xff" + CANARY.encode(),
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"1" * 5000,
    ],
    ids=range(15),
)
def test_a_line_that_is_no_answer_is_refused_without_being_quoted(line):
    for read in (decode_answer, lambda line: decode(Question, line), lambda line: decode(Report, line)):
        with pytest.raises(WireError) as caught:
            read(line)
        assert CANARY not in shown(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["call", "refusal", "username", "identity", "Issued", "Refused", "x"]), inner)
    ),
    max_leaves=10,
)


@given(json_values.map(json.dumps).map(str.encode) | st.binary(max_size=50))
def test_whatever_arrives_is_a_message_or_a_wire_error(line):
    for read in (decode_answer, lambda line: decode(Errand, line), lambda line: decode(Question, line)):
        with pytest.raises(WireError):
            read(line)


@pytest.mark.parametrize("tampered", [b'"AWS"', b'"password":', b'"lifetime":'])
@given(st.data())
def test_an_answer_cut_or_changed_never_shows_its_password(tampered, data):
    line = encode_answer(Issued(Call(Identity(), "eu-west-1"), "AWS", Secret(CANARY), timedelta(hours=12)))
    assert tampered in line
    cut = data.draw(st.integers(0, len(line) - 2))

    for changed in (line[:cut], line.replace(tampered, b"7"), line.replace(tampered, b'"x"' + tampered[-1:])):
        try:
            decode_answer(changed)
        except WireError as error:
            said = shown(error)
        else:
            said = ""
        assert CANARY not in said


def test_what_a_log_would_show_of_a_message_holds_no_secret():
    # What comes from the environment and from files may be one, and so may the proxy's URL.
    question = Question(
        (),
        timedelta(seconds=20),
        probes=(wire.Probe("host", "AWS", Secret(CANARY)),),
        aws=wire.Aws(proxy=f"http://us:{CANARY}@proxy"),
        environment={"AWS_SECRET_ACCESS_KEY": CANARY},
        files={"AWS_SHARED_CREDENTIALS_FILE": CANARY},
    )
    errand = Errand("/a", None, {"host": Secret(CANARY)}, timedelta(seconds=20))

    assert CANARY not in f"{question} {errand}"


def test_a_refusal_of_an_unknown_region_keeps_self():
    refusal = wire.Refusal("imds_unreachable", "a", "b", timedelta(seconds=1))

    assert decode_answer(encode_answer(Refused(Call(Identity(), wire.SELF), refusal))).call.region == "self"
