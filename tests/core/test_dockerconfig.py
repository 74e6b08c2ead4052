import base64
import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecrlogind.core.credential import Secret
from ecrlogind.core.dockerconfig import (
    Trouble,
    Unfit,
    Wish,
    bad_entries,
    carry,
    digest,
    ends_at,
    find,
    legacy_logins,
    merge,
    other_helpers,
    other_logins,
    shadowed_by,
    twins,
    without,
)
from ecrlogind.core.wire import Was

A = "111111111111.dkr.ecr.eu-west-1.amazonaws.com"
B = "222222222222.dkr.ecr.us-east-1.amazonaws.com"
P = "public.ecr.aws"
OURS = (A, B, P)


def auth(password, user="AWS"):
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def wish(*hosts, password="new", **more):
    return Wish(logins={host: auth(password) for host in hosts}, **more)


def undo(*hosts, password="new"):
    return Wish(remove=hosts, delivered={host: (digest(auth(password)),) for host in hosts})


def exactly(text):
    """Parse so that nothing is lost: members in order, numbers as they are written."""
    return json.loads(text, object_pairs_hook=list, parse_int=lambda n: ("n", n), parse_float=lambda n: ("n", n))


# --- documents, in every layout that somebody may have given them

numbers = st.sampled_from([0, -1, 12, 1.5]) | st.integers()
scalars = st.none() | st.booleans() | numbers | st.text(max_size=8)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
hosts = st.text(string.ascii_lowercase + "./:-", min_size=1, max_size=12).filter(lambda host: host not in OURS)
entries = st.fixed_dictionaries({"auth": st.text(max_size=6).map(auth)}, optional={"email": st.text(max_size=4)})
keys = st.text(max_size=6).filter(lambda key: key not in ("auths", "credHelpers", "credsStore"))


NOTHING = st.just({})


@st.composite
def documents(draw, ours=NOTHING):
    members = draw(st.dictionaries(keys, values, max_size=3))
    if draw(st.booleans()):
        members["auths"] = {**draw(st.dictionaries(hosts, entries, max_size=3)), **draw(ours)}
    if draw(st.booleans()):
        members["credHelpers"] = draw(st.dictionaries(hosts, st.text(max_size=5), max_size=2))
    for section in ("auths", "credHelpers"):
        if section in members:
            members[section] = dict(draw(st.permutations(list(members[section].items()))))
    members = dict(draw(st.permutations(list(members.items()))))
    indent = draw(st.sampled_from([None, "\t", 2, 4, 0]))
    separators = draw(st.sampled_from([None, (",", ":"), (" , ", " : ")]))
    text = json.dumps(members, indent=indent, separators=separators, ensure_ascii=draw(st.booleans()))
    if draw(st.booleans()):
        text = text.replace("\n", "\r\n")
    return draw(st.sampled_from(["", "\n", " \t"])) + text + draw(st.sampled_from(["", "\n", "\r\n "]))


our_hosts = st.sets(st.sampled_from(OURS), min_size=1)
our_entries = st.dictionaries(
    st.sampled_from([*OURS, *(twin for host in OURS for twin in twins(host)), f"{A}/team-a"]),
    st.sampled_from([{"auth": auth("old")}, {"auth": auth("foreign")}, {"auth": auth("new")}, {}]),
    max_size=4,
)
wishes = st.builds(
    lambda logins, helpers, remove, replace, fix: Wish(
        logins={host: auth("new") for host in logins},
        helpers=tuple(helpers - logins),
        remove=tuple(remove - logins - helpers),
        delivered={host: (digest(auth("old")),) for host in OURS},
        replace=tuple(replace),
        fix_shadows=fix,
    ),
    st.sets(st.sampled_from(OURS)),
    st.sets(st.sampled_from(OURS)),
    st.sets(st.sampled_from(OURS)),
    st.sets(st.sampled_from(OURS)),
    st.booleans(),
)


@given(documents(our_entries), wishes)
def test_a_second_merge_returns_the_very_same_text(text, wanted):
    once = merge(text, wanted)

    assert merge(once, wanted) is once


@given(documents(our_entries), st.permutations(OURS))
def test_the_order_of_the_logins_does_not_matter(text, order):
    at_once = merge(text, wish(*OURS, replace=OURS))

    assert merge(text, wish(*order, replace=OURS)) == at_once
    assert json.loads(one_by_one(text, order)) == json.loads(at_once)


@given(documents(), st.permutations(OURS))
def test_the_order_of_the_merges_does_not_matter_either(text, order):
    assert one_by_one(text, order) == merge(text, wish(*OURS))


def one_by_one(text, order):
    for host in order:
        text = merge(text, wish(host, replace=OURS))
    return text


@given(documents(our_entries), wishes)
def test_whatever_is_not_ours_keeps_its_value_its_spelling_and_its_order(text, wanted):
    def foreign(text):
        kept = []
        for key, value in exactly(text):
            if key == "auths":
                mine = {*OURS, *(twin for host in OURS for twin in twins(host))}
                value = [member for member in value if member[0] not in mine]  # noqa: PLW2901
            elif key == "credHelpers":
                value = [member for member in value if member[0] not in OURS]  # noqa: PLW2901
            if value or key not in ("auths", "credHelpers"):
                kept.append((key, value))
        return kept

    assert foreign(merge(text, wanted)) == foreign(text)


@given(documents(our_entries), our_hosts)
def test_our_hosts_are_exactly_as_specified_and_their_twins_are_gone(text, names):
    auths = json.loads(merge(text, wish(*names, replace=OURS)))["auths"]

    for host in names:
        assert auths[host] == {"auth": auth("new")}
        assert not set(twins(host)) & set(auths)


@given(documents(), our_hosts)
def test_removing_what_was_merged_restores_the_text(text, names):
    after = merge(merge(text, wish(*names)), undo(*names))

    if "auths" not in json.loads(text):
        assert after == merge(merge(after, wish(*names)), undo(*names))
        after = without_empty_auths(after)
        text = without_empty_auths(text)
    assert exactly(after) == exactly(text)


@given(documents(), our_hosts)
def test_removing_what_was_merged_restores_every_byte_where_other_logins_stand(text, names):
    if json.loads(text).get("auths"):
        assert merge(merge(text, wish(*names)), undo(*names)) == text


def without_empty_auths(text):
    return json.dumps({key: value for key, value in json.loads(text).items() if (key, value) != ("auths", {})})


@given(documents(our_entries), our_hosts)
def test_a_foreign_login_is_kept_and_reported_unless_it_may_be_replaced(text, names):
    wanted = wish(*names, delivered={host: (digest(auth("old")),) for host in OURS})
    before = json.loads(text).get("auths", {})
    after = json.loads(merge(text, wanted)).get("auths", {})
    found = find(text, wanted)

    for host in names:
        if before.get(host) == {"auth": auth("foreign")}:
            assert after[host] == before[host]
            assert (found[host].was, found[host].is_ours) == (Was.FOREIGN, False)
            assert found[host].digest == digest(auth("foreign"))
        else:
            assert after[host] == {"auth": auth("new")}
            assert found[host].is_ours


@given(documents(), documents(), documents())
def test_carrying_over_nothing_changes_nothing_and_onto_the_base_gives_theirs(base, theirs, onto):
    def plain(text):
        return {key: value for key, value in json.loads(text).items() if value != {}}

    assert carry(base, base, onto) is onto
    assert plain(carry(base, theirs, base)) == plain(theirs)


@given(st.text(max_size=40) | st.binary(max_size=40).map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_either_merged_or_refused_by_name(text):
    refusal = None
    try:
        after = merge(text, wish(A, replace=(A,)))
    except Unfit as e:
        refusal = e

    if refusal is None:
        assert json.loads(after)["auths"][A] == {"auth": auth("new")}
    else:
        assert refusal.code in Trouble
        assert str(refusal).isascii()
        assert refusal.hint


# --- the text, case by case


def test_a_new_file_looks_as_docker_would_write_it():
    assert merge("", wish(A)) == f'{{\n\t"auths": {{\n\t\t"{A}": {{\n\t\t\t"auth": "{auth("new")}"\n\t\t}}\n\t}}\n}}'


def test_an_empty_file_is_left_alone_when_there_is_nothing_to_say():
    text = " \n"

    assert merge(text, undo(A)) is text


@pytest.mark.parametrize("written", ["1e400", "-0.0", "1.10", "123456789012345678901234567890", "1E+2", "9" * 5000])
def test_a_number_stays_as_it_is_written(written):
    assert f'"n": {written}' in merge(f'{{"n": {written}, "auths": {{}}}}', wish(A))


def test_an_escape_stays_as_it_is_written():
    assert '"\\u0061\\/\\ud800"' in merge('{"a": "\\u0061\\/\\ud800"}', wish(A))


@pytest.mark.parametrize("indent", ["\t", "  ", "    ", "\r\n"])
def test_a_login_goes_in_with_the_indentation_of_the_file(indent):
    newline = "\r\n" if indent == "\r\n" else "\n"
    unit = "  " if indent == "\r\n" else indent
    text = json.dumps({"auths": {"quay.io": {"auth": auth("x")}}}, indent=unit).replace("\n", newline)

    after = merge(text, wish(A))

    assert after == json.dumps(
        {"auths": {A: {"auth": auth("new")}, "quay.io": {"auth": auth("x")}}}, indent=unit
    ).replace("\n", newline)


def test_a_file_on_one_line_stays_on_one_line():
    assert merge('{"auths":{}}', wish(A)) == f'{{"auths":{{"{A}":{{"auth":"{auth("new")}"}}}}}}'


def test_a_login_of_one_team_stays_beside_ours():
    text = json.dumps({"auths": {f"{A}/team-a": {"auth": auth("team")}}})

    assert json.loads(merge(text, wish(A)))["auths"][f"{A}/team-a"] == {"auth": auth("team")}


@pytest.mark.parametrize("twin", twins(A))
def test_an_exact_twin_goes_since_a_stale_one_can_win(twin):
    text = json.dumps({"auths": {twin: {"auth": auth("stale")}}})

    assert list(json.loads(merge(text, wish(A)))["auths"]) == [A]


@pytest.mark.parametrize(
    "other", [f"{A}:443", f"https://{A}:443", f"https://{A}/v2", A.upper(), f"ftp://{A}", f"https://{A}/app", "x" + A]
)
def test_what_is_no_exact_twin_stays(other):
    text = json.dumps({"auths": {other: {"auth": auth("x")}}})

    assert other in json.loads(merge(text, wish(A)))["auths"]


def test_an_entry_of_ours_says_nothing_but_the_auth():
    text = json.dumps({"auths": {A: {"auth": auth("new"), "identitytoken": "x", "email": ""}}})

    assert json.loads(merge(text, wish(A)))["auths"][A] == {"auth": auth("new")}


def test_dockers_mark_for_a_login_in_the_store_is_no_login():
    text = json.dumps({"auths": {A: {}}})

    assert find(text, wish(A))[A].was is Was.ABSENT
    assert json.loads(merge(text, wish(A)))["auths"][A] == {"auth": auth("new")}


@pytest.mark.parametrize(
    ("entry", "was"),
    [
        ({"auth": auth("new")}, Was.OURS),
        ({"auth": auth("old")}, Was.OUTDATED),
        ({"auth": auth("other")}, Was.FOREIGN),
        ({"username": "AWS", "password": "x"}, Was.FOREIGN),
        ({"identitytoken": "x"}, Was.FOREIGN),
        (None, Was.ABSENT),
    ],
)
def test_what_stood_there_is_told_apart_by_digest(entry, was):
    text = json.dumps({"auths": {A: entry}})

    assert find(text, wish(A, delivered={A: (digest(auth("old")),)}))[A].was is was


def test_a_foreign_login_goes_once_it_is_expelled():
    text = json.dumps({"auths": {A: {"auth": auth("job")}}})

    assert merge(text, wish(A)) is text
    assert json.loads(merge(text, wish(A, expelled={A: digest(auth("job"))})))["auths"][A] == {"auth": auth("new")}


def test_a_foreign_login_stays_that_says_the_same_as_one_that_is_expelled_elsewhere():
    text = json.dumps({"auths": {A: {"auth": auth("job")}, B: {"auth": auth("job")}}})

    merged = json.loads(merge(text, wish(A, B, expelled={B: digest(auth("job"))})))

    assert merged["auths"] == {A: {"auth": auth("job")}, B: {"auth": auth("new")}}


def test_a_foreign_login_without_an_auth_has_a_digest_that_does_not_depend_on_its_layout():
    one = json.dumps({"auths": {A: {"username": "u", "password": "p"}}})
    other = json.dumps({"auths": {A: {"password": "p", "username": "u"}}}, indent=2)

    assert find(one, wish(A))[A].digest == find(other, wish(A))[A].digest


def test_removing_leaves_a_foreign_login_and_says_so():
    text = json.dumps({"auths": {A: {"auth": auth("job")}, B: {"auth": auth("new")}}})

    assert list(json.loads(merge(text, undo(A, B)))["auths"]) == [A]
    found = find(text, undo(A, B))
    assert (found[A].was, found[A].digest) == (Was.FOREIGN, digest(auth("job")))
    assert (found[B].was, found[B].is_ours, found[B].digest) == (Was.OUTDATED, False, None)


def test_removing_takes_our_helper_and_our_twins_along():
    text = json.dumps({"auths": {f"https://{A}": {"auth": auth("new")}}, "credHelpers": {A: "ecrlogind", B: "pass"}})

    after = json.loads(merge(text, undo(A, B)))

    assert after == {"auths": {}, "credHelpers": {B: "pass"}}


# --- helpers and shadows


def test_a_helper_is_named_and_no_secret_of_ours_stays():
    text = json.dumps({"auths": {A: {"auth": auth("old")}, B: {"auth": auth("job")}}})
    wanted = Wish(helpers=(A, B), delivered={A: (digest(auth("old")),)})

    assert json.loads(merge(text, wanted)) == {
        "auths": {B: {"auth": auth("job")}},
        "credHelpers": {A: "ecrlogind", B: "ecrlogind"},
    }
    assert find(text, wanted)[A].was is Was.OUTDATED


def test_somebody_elses_helper_is_foreign():
    text = json.dumps({"credHelpers": {A: "ecr-login"}})

    assert merge(text, Wish(helpers=(A,))) is text
    assert find(text, Wish(helpers=(A,)))[A].was is Was.FOREIGN
    assert json.loads(merge(text, Wish(helpers=(A,), replace=(A,)))) == {"credHelpers": {A: "ecrlogind"}}


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"credsStore": "pass"}, Trouble.SHADOWED_BY_STORE),
        ({"credHelpers": {A: "ecr-login"}}, Trouble.SHADOWED_BY_HELPER),
        ({"credsStore": "pass", "credHelpers": {A: "ecr-login"}}, Trouble.SHADOWED_BY_HELPER),
        ({"credsStore": "pass", "credHelpers": {A: ""}}, None),
        ({"credsStore": "pass", "credHelpers": {A: "ecrlogind"}}, None),
        ({"credHelpers": {f"https://{A}": "ecr-login"}}, None),
        ({"credsStore": ""}, None),
        ({}, None),
    ],
)
def test_what_makes_docker_ignore_a_login_is_told_as_docker_decides_it(members, code):
    shadow = shadowed_by(json.dumps(members), A)

    assert (shadow.code if shadow else None) == code
    if shadow:
        assert (shadow.message + shadow.hint).isascii()
        assert "on_shadow" in shadow.hint


@pytest.mark.parametrize("members", [{"credsStore": "pass"}, {"credHelpers": {A: "ecr-login"}}])
def test_a_fix_names_our_helper_and_stays(members):
    wanted = wish(A, fix_shadows=True)
    once = merge(json.dumps(members), wanted)

    assert json.loads(once)["credHelpers"] == {A: "ecrlogind"}
    assert shadowed_by(once, A) is None
    assert find(once, wanted)[A].was is Was.OURS
    assert merge(once, wanted) is once


def test_without_the_fix_a_shadow_is_reported_and_the_login_delivered_all_the_same():
    text = json.dumps({"credsStore": "pass"})

    assert json.loads(merge(text, wish(A)))["auths"][A] == {"auth": auth("new")}
    assert find(text, wish(A))[A].shadow.code == Trouble.SHADOWED_BY_STORE


def test_a_file_destination_needs_our_helper_no_more():
    text = json.dumps({"credHelpers": {A: "ecrlogind"}})

    assert json.loads(merge(text, wish(A))) == {"auths": {A: {"auth": auth("new")}}, "credHelpers": {}}


def test_another_login_in_an_auth_json_is_found_under_every_key_that_podman_takes():
    text = json.dumps({"auths": {A: {"auth": auth("new")}, f"https://{A}/v2/": {"auth": auth("x")}, f"{A}/t": {}}})

    assert other_logins(text, {A: auth("new"), B: None}) == {A: {f"https://{A}/v2/": {"auth": auth("x")}}}
    assert other_helpers(json.dumps({"credHelpers": {A: "pass", B: "ecrlogind"}}), (A, B, P)) == {A: "pass"}
    assert json.loads(without(text, [f"https://{A}/v2/"])) == {"auths": {A: {"auth": auth("new")}, f"{A}/t": {}}}


def test_a_legacy_file_has_its_logins_at_the_top():
    text = json.dumps({f"https://{A}": {"auth": auth("x")}})

    assert legacy_logins(text, {A: auth("new"), B: None}) == (A,)
    assert legacy_logins(text, {A: auth("x")}) == ()
    assert legacy_logins("no json", {A: None}) == ()


# --- what is refused


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ('{"auths": {', Trouble.INVALID_JSON, "line 1 column 12"),
        ('{"auths": {}} x', Trouble.INVALID_JSON, "Extra data"),
        ("{'auths': {}}", Trouble.INVALID_JSON, "property name"),
        ('{"a": NaN}', Trouble.INVALID_JSON, "NaN is no JSON"),
        ('{"a": -Infinity}', Trouble.INVALID_JSON, "-Infinity"),
        ('{"a": 1,}', Trouble.INVALID_JSON, "property name"),
        ('{"a": "\n"}', Trouble.INVALID_JSON, "control character"),
        ('{"a" 1}', Trouble.INVALID_JSON, "':' delimiter"),
        ('{"a": 1 "b": 2}', Trouble.INVALID_JSON, "',' delimiter"),
        ('{"a": }', Trouble.INVALID_JSON, "Expecting value"),
        ("\0", Trouble.INVALID_JSON, "Expecting value"),
        ("[]", Trouble.WRONG_SHAPE, "not an object"),
        ('"x"', Trouble.WRONG_SHAPE, "not an object"),
        ('{"auths": []}', Trouble.WRONG_SHAPE, "auths is not an object"),
        ('{"auths": null}', Trouble.WRONG_SHAPE, "auths is not an object"),
        ('{"auths": "x"}', Trouble.WRONG_SHAPE, "auths is not an object"),
        ('{"credHelpers": []}', Trouble.WRONG_SHAPE, "credHelpers is not an object"),
        (json.dumps({"credHelpers": {A: 1}}), Trouble.WRONG_SHAPE, "is not a string"),
        ('{"credsStore": {}}', Trouble.WRONG_SHAPE, "credsStore is not a string"),
        (json.dumps({"auths": {A: "x"}}), Trouble.WRONG_SHAPE, "is not an object"),
        ('{"a": 1, "a": 2}', Trouble.DUPLICATE_KEY, "'a' stands twice"),
        ('{"a": 1, "\\u0061": 2}', Trouble.DUPLICATE_KEY, "'a' stands twice"),
        ('{"x": {"a": 1, "a": 2}}', Trouble.DUPLICATE_KEY, "'a' stands twice"),
        ('{"auths": {"q": {}, "q": {}}}', Trouble.DUPLICATE_KEY, "'q' stands twice"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", Trouble.TOO_DEEP, "nested"),
        ("[" * 100_000, Trouble.TOO_DEEP, "nested"),
    ],
)
def test_a_text_that_cannot_be_merged_is_refused_by_name(text, code, says):
    with pytest.raises(Unfit, match=says) as refused:
        merge(text, wish(A))

    assert refused.value.code is code
    assert refused.value.hint
    assert refused.value.__cause__ is None
    # The parser's own error carries the document, and with it its secrets.
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_an_entry_that_docker_cannot_read_is_named_and_kept():
    text = json.dumps(
        {"auths": {"bad.example": {"auth": "no base64"}, "odd.example": 5, "good.example": {}, "n": {"auth": "bm8="}}}
    )

    assert bad_entries(text) == ("bad.example", "odd.example", "n")
    assert json.loads(merge(text, wish(A)))["auths"]["odd.example"] == 5


# --- digests and ends


def test_a_digest_is_that_of_the_auth():
    assert digest("QQ==") == "ee0b13692453f0f83c3c9bfa207ef7a6b1927f6dedaf5d900239e1b17762b3ea"


@pytest.mark.parametrize(
    ("password", "end"),
    [
        (base64.b64encode(b'{"payload":"x","expiration":1700000000}').decode(), 1700000000),
        (base64.b64encode(b'{"expiration":"1700000000"}').decode(), None),
        (base64.b64encode(b'{"expiration":true}').decode(), None),
        (base64.b64encode(b'{"expiration":-5}').decode(), None),
        (base64.b64encode(b'{"expiration":1e400}').decode(), None),
        (base64.b64encode(b'{"expiration":99999999999999999999}').decode(), None),
        (base64.b64encode(b"[1]").decode(), None),
        (base64.b64encode(b"[" * 100_000).decode(), None),
        ("hunter2", None),
        ("", None),
    ],
)
def test_the_end_of_a_login_is_read_from_inside_an_ecr_password(password, end):
    assert ends_at(auth(password)) == end


@pytest.mark.parametrize("odd", ["", "not base64", "bm8gY29sb24="])
def test_an_auth_that_is_none_has_no_end(odd):
    assert ends_at(odd) is None


def test_a_foreign_login_is_reported_with_its_end():
    password = base64.b64encode(b'{"expiration":1700000000}').decode()

    assert find(json.dumps({"auths": {A: {"auth": auth(password)}}}), wish(A))[A].ends_at == 1700000000


def test_a_wish_does_not_show_its_secrets():
    assert auth("new") not in repr(wish(A))
    assert Secret("x") == Secret("x")


# --- three ways


def test_a_logout_that_was_displaced_is_carried_over():
    base = json.dumps({"auths": {"a": {"auth": auth("a")}, "b": {"auth": auth("b")}}})
    theirs = json.dumps({"auths": {"b": {"auth": auth("b")}}})
    onto = merge(base, wish(A))

    assert set(json.loads(carry(base, theirs, onto))["auths"]) == {"b", A}


def test_what_was_changed_since_stays():
    base = json.dumps({"auths": {"a": {"auth": auth("1")}}, "x": 1})
    theirs = json.dumps({"auths": {"a": {"auth": auth("2")}}, "x": 2, "new": 1})
    onto = json.dumps({"auths": {"a": {"auth": auth("3")}}, "x": 3})

    assert json.loads(carry(base, theirs, onto)) == {"auths": {"a": {"auth": auth("3")}}, "x": 3, "new": 1}


def test_without_a_base_only_what_is_missing_is_carried_over():
    theirs = json.dumps({"auths": {"a": {"auth": auth("theirs")}, "b": {}}})
    onto = json.dumps({"auths": {"a": {"auth": auth("ours")}}})

    assert json.loads(carry("", theirs, onto)) == {"auths": {"a": {"auth": auth("ours")}, "b": {}}}
