"""The invariants are worth something: each is seen to be broken by what breaks it, and by nothing else."""

import json
from dataclasses import replace

import pytest

from tests.support.invariants import Destination, broken
from tests.support.story import FOREIGN, SOUND, VICTIM
from tests.support.truth import Held, Stands, Truth


@pytest.fixture
def sound(story):
    """Return the evidence of a host on which nothing is wrong."""
    story.start().settle()
    story.hold()
    return story.evidence()


def told(document, **changes):
    return json.loads(json.dumps(document)) | changes


def test_each_invariant_is_seen_to_be_broken(sound, aws):
    one = sound.destinations["one"]
    document = sound.document
    [password] = aws.passwords("eu-west-1")
    ended = {key: replace(truth, stands=Stands.OURS_ENDED, held=Held.ENDED) for key, truth in sound.truths.items()}
    [call] = [each for each in sound.calls if each.service == "ecr" and each.region == "eu-west-1"]
    asked = next(each for each in sound.calls if each.service == "imds")

    def file(**changes):
        return {"destinations": {"one": replace(one, **changes)}}

    cases = {
        "does not parse": file(now=one.now[:-4]),
        "does not hold what somebody else put there": file(now=one.now.replace(b"quay.io", b"quay.oi")),
        "does not hold every foreign byte": file(now=one.now.replace(b'"n": 12', b'"n":  12')),
        "one is gone": file(now=None),
        "does not parse (": file(seen=frozenset({one.now[:40]})),
        "was no document and was changed": {"destinations": {"one": Destination(b"{", b"{}", unfit=True)}},
        "to be seen in the log": {"places": {"the log": b"x" + password.token[700:724].encode()}},
        "was left over": {"left_over": ("/tmp/core",)},
        "the daemon is dead": {"dead": "it ended with 1"},
        "the unaffected login": {"truths": ended},
        "is shown as in_place, and is expired": {"truths": ended},
        "is shown as in_place, and is drifted/pending": {
            "truths": {key: replace(truth, stands=Stands.NOTHING) for key, truth in sound.truths.items()}
        },
        "is not told": {"document": told(document, logins=document["logins"][1:])},
        "is told and is not there": {"truths": {}, "unaffected": frozenset()},
        "there is no status": {"document": None},
        "the verdict is degraded, and follows to be healthy": {"document": told(document, verdict="degraded")},
        "problem is told as None": {"problem": True},
        "a renewal is late": {"truths": {key: replace(each, refused=True) for key, each in sound.truths.items()}},
        "AWS was hammered": {"calls": tuple(replace(call, at=call.at + n / 10) for n in range(9)), "hurries": 1},
        "IMDS was hammered": {"calls": tuple(replace(asked, at=asked.at + n / 100) for n in range(40))},
    }

    assert broken(sound) == []
    for words, changes in cases.items():
        assert any(words in said for said in broken(replace(sound, **changes))), words


def test_every_word_of_a_login_s_state_has_a_truth():
    words = {
        word
        for held in Held
        for stands in Stands
        for refused in (False, True)
        for shadowed in (False, True)
        for word in Truth(held=held, stands=stands, refused=refused, shadowed=shadowed).words
    }

    assert words == {"in_place", "drifted", "foreign", "shadowed", "expired", "failed", "pending"}


def test_the_standing_set_is_what_somebody_else_wrote_and_ours_beside_it(sound):
    assert {host for host, _ in sound.truths} == {VICTIM, SOUND}
    assert all(each.now != FOREIGN for each in sound.destinations.values())
    assert sound.unaffected == {key for key in sound.truths if key[0] == SOUND}
