"""A host to be examined: the real daemon, a user of its own with a home, and the doctor as a process."""

import base64
import json
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from standin import StandIn
from tests.support.keeper import Keeper, until
from tests.support.people import installation, person

HOST = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
IMAGE = f"{HOST}/team/app:v1"


@pytest.fixture(scope="session")
def program():
    with installation() as command:
        yield command


class Patient:
    """A user *who* of this machine, whose logins a keeper keeps, against the stand-in *aws*."""

    def __init__(self, keeper, who, aws):
        self.keeper = keeper
        self.who = who
        self.aws = aws
        self.directory = who.home / ".docker"
        self.file = self.directory / "config.json"

    def doctor(self, *arguments, as_user=True, **environment):
        """Return what the doctor found, by code, with the daemon running; as the user unless told otherwise."""
        command = [*self.keeper.program, "doctor", "--config", self.keeper.config, "--json", *arguments]
        environment = {"ECRLOGIND_STATE": str(self.keeper.state), **environment}
        if as_user:
            done = self.who.run(*command, env=environment)
        else:
            done = self.keeper.run("doctor", "--config", str(self.keeper.config), "--json", *arguments)
        assert done.returncode in (0, 1), done.stderr
        found = json.loads(done.stdout)
        assert done.returncode == (0 if found["healthy"] else 1)
        assert found["healthy"] == (not any(case["findings"] for case in found["cases"]))
        return found

    def codes(self, *arguments, **options):
        found = self.doctor(*arguments, **options)
        return [finding["code"] for case in found["cases"] for finding in case["findings"]]

    def become(self, content):
        """Let the user's config.json be *content*, and the user's own."""
        self.file.write_text(content if isinstance(content, str) else json.dumps(content))

    @property
    def content(self):
        return json.loads(self.file.read_text())


def auth(password, user="AWS"):
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


@contextmanager
def admitted(aws, program):
    """Run a keeper whose one destination is a user; the image is there and may be pulled."""
    aws.world.add_image("team/app:v1")
    # Not pytest's own directory, through which nobody else may pass.
    place = Path(tempfile.mkdtemp(prefix="ecrlogind-doctor-", dir="/tmp"))
    place.chmod(0o755)
    keeper = Keeper(place, aws, program)
    try:
        with person() as who:
            one = Patient(keeper, who, aws)
            keeper.write_settings([HOST], [{"user": who.name}])
            keeper.config.chmod(0o644)
            with keeper.running():
                until(lambda: (keeper.document or {}).get("ready"), "a daemon that is ready")
                keeper.wait_for(states={HOST: "in_place"})
                yield one
    finally:
        keeper.end()
        shutil.rmtree(place)


@pytest.fixture
def patient(aws, program):
    with admitted(aws, program) as one:
        yield one


@pytest.fixture(scope="module")
def healthy(tmp_path_factory, program):
    """Yield one patient for all tests that leave the host as it is."""
    with StandIn(tmp_path_factory.mktemp("aws")) as aws, admitted(aws, program) as one:
        yield one
