"""What the doctor says, for people and for programs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from ecrlogind.core.mistake import one_line
from ecrlogind.core.table import Paint
from ecrlogind.doctor.checks import judge
from ecrlogind.doctor.evidence import Evidence
from ecrlogind.doctor.finding import Finding
from ecrlogind.doctor.image import Image
from ecrlogind.doctor.trails import trails


def report(cases: Iterable[Evidence]) -> dict[str, Any]:
    """Return all of it: a case per image, or the one of the host alone."""
    said = [_case(each) for each in cases]
    return {
        "version": 1,
        "healthy": not any(case["findings"] for case in said),
        "user": said[0]["user"],
        "cases": said,
        "notes": list(dict.fromkeys(note for case in said for note in case.pop("notes"))),
        "unseen": list(dict.fromkeys(line for case in said for line in case.pop("unseen"))),
    }


def _case(evidence: Evidence) -> dict[str, Any]:
    return {
        "user": evidence.user.name,
        "image": _name(evidence.image),
        "clients": [
            {
                "client": trail.client,
                "steps": list(trail.steps),
                "login": trail.login.where if trail.login else None,
                "anonymous": trail.login is None and not trail.fails,
            }
            for trail in trails(evidence)
        ],
        "answers": [
            {
                "clients": list(each.clients),
                "digest": each.digest,
                "refusal": each.refusal.code if each.refusal else None,
            }
            for each in evidence.asked
        ],
        "findings": [_finding(finding) for finding in judge(evidence)],
        "notes": list(_notes(evidence)),
        "unseen": list(evidence.unseen),
    }


def _finding(finding: Finding) -> dict[str, str]:
    found = asdict(finding)
    del found["explains"]  # between the checks
    return found


def _name(image: Image | None) -> str | None:
    return f"{image.host}/{image.name}" if image else None


def _notes(evidence: Evidence) -> Iterator[str]:
    """Yield what is worth knowing and nothing is wrong with."""
    if evidence.user.imds == "yes" and evidence.user.uid != 0:
        yield (
            f"{evidence.user.name} can reach the instance metadata service, and so can be the instance's role without "
            "any login of ours; a firewall rule that lets only root and the user ecrlogind there would end that"
        )
    for row in evidence.keeper.logins:
        if row["error"] and row["error"]["code"] == "no_user":
            yield f"{row['destination']}: {row['error']['message']}; its login follows as soon as there is"


def text(found: dict[str, Any], paint: Paint) -> str:
    """Write a report for people; *paint* takes a text and the state that colours it.

    What others have written into their files reaches the terminal as printable ASCII only.
    """
    lines: list[str] = []
    for case in found["cases"]:
        lines += map(one_line, _way(case))
        for finding in case["findings"]:
            lines += [
                f"{paint(finding['code'], 'failing')}: {one_line(finding['what'])}",
                f"  why: {one_line(finding['why'])}",
                f"  do:  {one_line(finding['to_do'])}",
            ]
    lines += [f"note: {one_line(note)}" for note in found["notes"]]
    lines += [f"not seen: {one_line(line)}" for line in found["unseen"]]
    if found["healthy"]:
        lines.append(paint(f"nothing found that would make a pull fail for {one_line(found['user'])}", "healthy"))
    return "\n".join(lines) + "\n"


def _way(case: dict[str, Any]) -> Iterator[str]:
    """Yield the way of each client to the image, and what the registry answered."""
    if case["image"]:
        yield f"{case['image']}, as {case['user']}:"
    for client in case["clients"]:
        yield f"  {client['client']}"
        yield from (f"    {step}" for step in client["steps"])
        if client["login"]:
            yield f"    takes {client['login']}"
    for answer in case["answers"]:
        if answer["refusal"] is None:
            pinned = f": {case['image'].partition('@')[0]} is {answer['digest']}" if answer["digest"] else ""
            yield f"  the registry answers {' and '.join(answer['clients'])} with 200{pinned}"
