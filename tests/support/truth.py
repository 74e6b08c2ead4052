"""What a truthful status says of a login: how it really is, by who sees AWS's books and the files, and in what words.

It is for hosts that live in real time; `oracle` is the same for a World. Both are written from the words of the design
and import nothing of the program, which so cannot agree with itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tests.support.oracle import verdict


class Held(Enum):
    """What the keeper was given of AWS for a login's identity and region, the newest of it."""

    NONE = "nothing yet"
    GOOD = "a credential that the registry takes"
    ENDED = "a credential past its end"


class Stands(Enum):
    """What stands under the login's host in its destination."""

    NOTHING = "nothing"
    OURS = "a login of ours that the registry takes"
    OURS_ENDED = "a login of ours that has ended, or is taken no more"
    THEIRS = "somebody else's login"
    GARBLED = "what is no login at all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """How one login is. *refused*: AWS gives nothing now. *hindered*: its file cannot be read or be written.

    *user*: the destination's user exists. *shadowed*: another setting makes the client pass over what stands there.
    """

    held: Held
    stands: Stands = Stands.NOTHING
    refused: bool = False
    hindered: bool = False
    shadowed: bool = False
    user: bool = True

    @property
    def words(self) -> frozenset[str]:
        """The states that status may truthfully show for it; more than one where a courier is just on its way."""
        if not self.user:
            return frozenset({"pending"})
        if self.held is Held.NONE:
            return frozenset({"failed"} if self.refused else {"pending"})
        return self._words_of_file

    @property
    def _words_of_file(self) -> frozenset[str]:
        match self.stands:
            case Stands.OURS:
                word = "shadowed" if self.shadowed else "in_place"
                return frozenset({word, "failed"} if self.hindered else {word})
            case _ if self.hindered:
                return frozenset({"failed"})
            case Stands.OURS_ENDED if self.held is Held.ENDED:
                return frozenset({"expired"})
            case Stands.THEIRS:
                return frozenset({"foreign"})
            case Stands.GARBLED:
                return frozenset({"drifted"})
            case _:
                return frozenset({"pending", "drifted"})


def lies(document: Mapping[str, Any], truths: Mapping[tuple[str, str], Truth], *, problem: bool = False) -> list[str]:
    """Return what a status *document* says that is not so, or does not say; *truths* by host and destination.

    *problem* is whether the settings as they are now cannot be taken.
    """
    shown = {(login["host"], login["destination"]): login for login in document["logins"]}
    found = [f"{key} is not told" for key in truths.keys() - shown.keys()]
    found += [f"{key} is told and is not there" for key in shown.keys() - truths.keys()]
    for key in truths.keys() & shown.keys():
        truth, login = truths[key], shown[key]
        if login["state"] not in truth.words:
            found.append(f"{key} is shown as {login['state']}, and is {'/'.join(sorted(truth.words))}: {truth}")
        if (login["state"] in ("failed", "shadowed")) and not (login["error"] or {}).get("hint"):
            found.append(f"{key} is {login['state']} without a reason and advice")
    if (document["problem"] is not None) != problem:
        found.append(f"problem is told as {document['problem']}, and there is {'one' if problem else 'none'}")
    late = any(truth.refused or truth.held in (Held.NONE, Held.ENDED) for truth in truths.values())
    states = {registry["state"] for registry in document["registries"]}
    shown_late = bool(states & {"failing", "expired", "pending"})
    if late != shown_late:
        found.append(f"the registries are shown as {sorted(states)}, and a renewal is {'' if late else 'not '}late")
    users = [(login["state"], (login["error"] or {}).get("code") != "no_user") for login in document["logins"]]
    expected = verdict(users, states)
    if problem and expected == "healthy":
        expected = "degraded"
    if document["verdict"] != expected:
        found.append(f"the verdict is {document['verdict']}, and follows to be {expected}")
    return found
