"""A row's host: the daemon as a process of its own, in a story that ends with the invariants."""

import pytest

import ecrlogind
from tests.support.interposed import Interposed
from tests.support.people import installation, person
from tests.support.story import Story


@pytest.fixture
def story(private_path, aws):
    one = Story(private_path, aws)
    yield one
    one.end()


@pytest.fixture
def hits_one(story):
    """Let the fault hit destination ``one`` and no other."""
    story.affects(destination="one")


@pytest.fixture
def couriers(story):
    """Return what runs the story's couriers behind another program."""
    place = story.directory / "python"
    place.mkdir()
    one = Interposed(place, ecrlogind.__file__, "ecrlogind.courier")
    story.keeper.program = one.program
    return one


@pytest.fixture(scope="session")
def installed():
    """Yield the command of an ecrlogind that every user can run."""
    with installation() as command:
        yield command


@pytest.fixture
def user(story, installed):
    """Return a user of this machine, to whom the story's daemon can deliver."""
    story.keeper.program = installed
    # Until the story ends: what it mounts in the home goes first.
    return story.opened.enter_context(person())
