"""The log, read at its other end: journald's socket, a terminal, a pipe, a file; and when nobody reads."""

import os
import pty
import re
import socket
import struct
from datetime import timedelta

import pytest

from ecrlogind.core.events import Event, Level
from ecrlogind.keeper import journal

EVENT = Event(
    "credential.refused",
    'No credential for eu-west-1 as host: AWS says "no"\nand <4>more\x1b[31m.',
    Level.ERROR,
    registries=("one.example", "two.example"),
    destination="/home/ci/.docker/config.json",
    code="access_denied",
    hint="allow it",
    again_after=timedelta(hours=1),
)


class Journald:
    """What listens at the journal's socket, in its own format."""

    def __init__(self, path):
        self.path = path
        self.start()

    def start(self):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.socket.settimeout(10)

    def stop(self):
        self.socket.close()
        self.path.unlink()

    def entry(self):
        """Return the next entry as a list of (name, value)."""
        data, fields = self.socket.recv(1 << 20), []
        while data:
            name, _, data = data.partition(b"\n")
            [length] = struct.unpack("<Q", data[:8])
            fields.append((name.decode(), data[8 : 8 + length].decode()))
            data = data[9 + length :]
        return fields


@pytest.fixture
def journald(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "_SOCKET", str(tmp_path / "socket"))
    one = Journald(tmp_path / "socket")
    yield one
    one.socket.close()


@pytest.fixture
def tell_journald(journald):
    """Return a teller whose descriptor is the journal's stream, as far as it can tell."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        status = os.fstat(ours.fileno())
        yield journal.teller("journal", {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}, ours.fileno())


def test_an_event_is_one_entry_with_a_field_for_each_of_its_facts(journald, tell_journald):
    tell_journald(EVENT)

    entry = journald.entry()
    assert [value for name, value in entry if name == "ECRLOGIND_REGISTRY"] == ["one.example", "two.example"]
    fields = dict(entry)
    assert fields["ECRLOGIND_EVENT"] == "credential.refused"
    assert fields["ECRLOGIND_DESTINATION"] == "/home/ci/.docker/config.json"
    assert fields["ECRLOGIND_CODE"] == "access_denied"
    assert fields["MESSAGE_ID"] == EVENT.message_id
    assert fields["PRIORITY"] == "3"
    assert fields["MESSAGE"] == 'No credential for eu-west-1 as host: AWS says "no"?and <4>more?[31m. Allow it.'
    assert not [name for name in fields if name.startswith("CODE_")]


def test_what_does_not_apply_is_no_field(journald, tell_journald):
    tell_journald(Event("settings.adopted", "They are."))

    assert not {"ECRLOGIND_REGISTRY", "ECRLOGIND_DESTINATION", "ECRLOGIND_CODE"} & set(dict(journald.entry()))


def test_a_full_or_dead_journal_costs_entries_and_a_new_one_gets_the_next(journald, tell_journald):
    for _ in range(2000):
        tell_journald(EVENT)
    journald.stop()
    tell_journald(EVENT)
    journald.start()

    tell_journald(Event("settings.adopted", "They are."))

    assert dict(journald.entry())["ECRLOGIND_EVENT"] == "settings.adopted"


def test_the_journal_s_variable_alone_is_not_taken_for_the_journal(journald):
    # A child of a service inherits it, whatever its own output is.
    read, write = os.pipe()
    with open(read) as reader, open(write, "w") as writer:
        journal.teller("journal", {"JOURNAL_STREAM": "1:1"}, writer.fileno())(EVENT)
        writer.close()

        assert reader.read().startswith("<3>credential.refused")


def test_lines_on_a_pipe_say_their_priority():
    read, write = os.pipe()
    with open(read) as reader, open(write, "w") as writer:
        tell = journal.teller("journal", {}, writer.fileno())
        tell(EVENT)
        tell(Event("start.finished", "Ready.", Level.NOTICE))
        writer.close()
        lines = reader.read().splitlines()

    first, second = lines
    assert first.startswith('<3>credential.refused "No credential for eu-west-1 as host: AWS says \\"no\\"?and <4>more')
    assert first.endswith(
        'registry=one.example,two.example destination=/home/ci/.docker/config.json code=access_denied hint="allow it"'
    )
    assert second == "<5>start.finished Ready."


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_gets_colours_unless_it_wants_none(environment, coloured):
    ours, theirs = pty.openpty()
    try:
        journal.teller("journal", environment, theirs)(EVENT)
        line = os.read(ours, 4096).decode()
    finally:
        os.close(ours)
        os.close(theirs)

    assert line.startswith("\x1b[31mNo credential" if coloured else "No credential")
    assert ("\x1b" in line) == coloured


def test_log_stderr_is_plain_and_dated_wherever_it_goes(tmp_path):
    with (tmp_path / "log").open("w") as file:
        journal.teller("stderr", {}, file.fileno())(EVENT)

    line = (tmp_path / "log").read_text()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ERROR   credential\.refused .* code=access_denied .*\n", line)


def test_a_pipe_that_nobody_reads_does_not_hold_us_up_and_loses_no_line_in_the_middle():
    read, write = os.pipe()
    try:
        tell = journal.teller("journal", {}, write)
        for _ in range(2000):
            tell(EVENT)
        os.set_blocking(read, False)
        lines = os.read(read, 1 << 20).decode().splitlines(keepends=True)
    finally:
        os.close(read)
        os.close(write)

    assert 10 < len(lines) < 2000
    assert {line.startswith("<3>") and line.endswith("\n") for line in lines} == {True}


def test_a_reader_that_went_away_and_a_full_disk_raise_nothing():
    read, write = os.pipe()
    os.close(read)
    try:
        journal.teller("stderr", {}, write)(EVENT)
    finally:
        os.close(write)
    with open("/dev/full", "w") as full:
        journal.teller("stderr", {}, full.fileno())(EVENT)
    journal.teller("stderr", {}, 999)(EVENT)
