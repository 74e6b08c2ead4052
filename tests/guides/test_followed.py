"""Each guide, followed to the letter on a booted host: its files put where it says, its commands typed."""

import sys

import pytest

from tests.guides.reading import blocks, commands, guides, says

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("guides")]  # one machine serves them all

GUIDES = guides()

# The commands that no test types, each with its reason. Nothing else may be left out.
NOT_TYPED = {
    "docker compose up --detach": "the compose plugin is no package of Debian 12",
    "docker compose run --rm gitlab-runner register": "a GitLab server, and the compose plugin",
    "aws ecr create-pull-through-cache-rule": "AWS itself",
}


def left_out(command):
    return any(command.line.startswith(each) for each in NOT_TYPED)


@pytest.mark.parametrize("name", GUIDES)
def test_a_guide_keeps_its_word(site, capfd, name):
    typed = listed = 0
    for block in blocks(GUIDES[name]):
        if block.place:
            site.install(block.place, block.example)
        if block.language != "console":
            continue
        for command in block.commands:
            if left_out(command):
                listed += 1
                continue
            done = site.type(command)
            told = f"{name}, block of line {block.number}: {command.line}\n{done.stdout}{done.stderr}"
            assert done.returncode == 0, told + site.machine.journal("-u", "ecrlogind", "--lines=20")
            assert says(command.says, done.stdout), f"{told}\nis not\n" + "\n".join(command.says)
            typed += 1
    with capfd.disabled():
        print(f"docs/guides/{name}: {typed} commands typed, {listed} listed as not to be", file=sys.stderr)


def test_the_list_of_what_is_not_typed_is_closed():
    every = [command for text in GUIDES.values() for command in commands(text)]

    unknown = [each for each in NOT_TYPED if not any(command.line.startswith(each) for command in every)]
    assert unknown == [], "listed, but in no guide"
    assert sum(map(left_out, every)) * 10 < len(every), "these are to be few"
