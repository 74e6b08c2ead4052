"""Each guide, followed to the letter on a booted host: its files put where it says, its commands typed.

And what the guides say without a command: each sentence of that kind that is ours to keep, tried on the same host.
"""

import json
import sys

import pytest

from tests.guides.conftest import CENTRAL, HOSTS, OWN
from tests.guides.reading import EXAMPLES, blocks, commands, guides, says

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("guides")]  # one machine serves them all

GUIDES = guides()
SETTINGS = "/etc/ecrlogind/config.toml"
SHARED = "/run/ecrlogind/docker"
ROOT_FILE = "/root/.docker/config.json"

# The commands that no test types, each with its reason. Nothing else may be left out.
NOT_TYPED = {
    "docker compose up --detach": "the compose plugin is no package of Debian 12",
    "docker compose run --rm gitlab-runner register": "a GitLab server, and the compose plugin",
    "aws ecr create-pull-through-cache-rule": "AWS itself",
}


def left_out(command):
    return any(command.line.startswith(each) for each in NOT_TYPED)


def follow(site, where, command):
    done = site.type(command)
    told = f"{where}: {command.line}\n{done.stdout}{done.stderr}"
    assert done.returncode == 0, told + site.machine.journal("-u", "ecrlogind", "--lines=20")
    assert says(command.says, done.stdout), f"{told}\nis not\n" + "\n".join(command.says)


@pytest.mark.parametrize("name", GUIDES)
def test_a_guide_keeps_its_word(site, capfd, name):
    typed = listed = 0
    pulled = [host for host in HOSTS if any(f"{host}/" in command.line for command in commands(GUIDES[name]))]
    with site.reached(*pulled):
        for block in blocks(GUIDES[name]):
            if block.place:
                site.install(block.place, block.example)
            for command in block.commands if block.language == "console" else ():
                if left_out(command):
                    listed += 1
                else:
                    follow(site, f"{name}, block of line {block.number}", command)
                    typed += 1
    with capfd.disabled():
        sys.stderr.write(f"docs/guides/{name}: {typed} commands typed, {listed} listed as not to be\n")


def test_without_a_login_the_registries_of_the_guides_are_closed(site):
    with site.reached(OWN, CENTRAL):
        for host in (OWN, CENTRAL):
            done = site.machine.run(["docker", "pull", f"{host}/team/app:1.4"], check=False)
            assert done.returncode != 0
    assert site.front.pulls == []


def test_the_list_of_what_is_not_typed_is_closed():
    every = [command for text in GUIDES.values() for command in commands(text)]

    unknown = [each for each in NOT_TYPED if not any(command.line.startswith(each) for command in every)]
    assert unknown == [], "listed, but in no guide"
    assert sum(map(left_out, every)) * 10 < len(every), "these are to be few"


def test_a_directory_that_docker_made_first_is_filled_and_stays_the_same_one(site):
    site.machine.run(f"mkdir -p {SHARED}")
    inode = site.machine.output(f"stat -c %i {SHARED}")
    site.install(SETTINGS, EXAMPLES / "gitlab-dind/ecrlogind.toml")

    site.machine.run("systemctl start ecrlogind; systemctl restart ecrlogind; systemctl stop ecrlogind")

    assert site.machine.output(f"stat -c %i {SHARED}") == inode
    assert set(json.loads(site.machine.read(f"{SHARED}/config.json"))["auths"]) == {OWN, CENTRAL}


def test_a_login_that_the_old_way_left_behind_is_replaced_and_a_later_one_is_foreign(site):
    left = json.dumps({"auths": {OWN: {"auth": "QVdTOm9sZA=="}, "quay.io": {"auth": "bWU6bWluZQ=="}}})
    site.machine.run(f"mkdir -p /root/.docker; cat >{ROOT_FILE}", stdin=left)
    site.install(SETTINGS, EXAMPLES / "plain-host/smallest.toml")

    site.machine.run("systemctl start ecrlogind")

    now = json.loads(site.machine.read(ROOT_FILE))["auths"]
    assert now[OWN] != {"auth": "QVdTOm9sZA=="}
    assert now["quay.io"] == {"auth": "bWU6bWluZQ=="}

    site.machine.run(f"cat >{ROOT_FILE}", stdin=left)
    site.machine.wait_for("ecrlogind status | grep foreign")
    assert json.loads(site.machine.read(ROOT_FILE))["auths"][OWN] == {"auth": "QVdTOm9sZA=="}


@pytest.mark.parametrize("variable", ["credHelpers", "credsStore"])
def test_the_host_s_docker_takes_no_harm_from_a_variable_that_names_a_helper(site, variable):
    site.install(SETTINGS, EXAMPLES / "plain-host/smallest.toml")
    site.machine.run("systemctl start ecrlogind")
    value = json.dumps({variable: {OWN: "ecrlogind"} if variable == "credHelpers" else "ecrlogind"})

    with site.reached(OWN):
        site.machine.run(
            ["docker", "pull", "--quiet", f"{OWN}/team/app:1.4"], environment={"DOCKER_AUTH_CONFIG": value}
        )


def test_a_read_only_directory_is_no_place_to_log_in_and_a_copy_of_it_is(site):
    site.install(SETTINGS, EXAMPLES / "gitlab-dind/ecrlogind.toml")
    site.machine.run("systemctl start ecrlogind; mkdir -p /mounted; mount --bind -o ro /run/ecrlogind/docker /mounted")
    site.machine.run("mount -o remount,bind,ro /mounted")
    password = site.aws.newest_password("eu-west-1")
    login = ["docker", "login", "--username", "AWS", "--password-stdin", OWN]

    with site.reached(OWN):
        refused = site.machine.run(login, stdin=password, environment={"DOCKER_CONFIG": "/mounted"}, check=False)
        assert refused.returncode != 0
        site.machine.run("rm -rf /root/own; cp -r /mounted /root/own")
        site.machine.run(login, stdin=password, environment={"DOCKER_CONFIG": "/root/own"})
    site.machine.run("umount /mounted")


def test_root_s_own_file_of_podman_s_takes_the_drop_in_and_skopeo_finds_it_by_itself(site):
    site.install("/etc/ecrlogind/config.d/podman.toml", EXAMPLES / "plain-host/ecrlogind-podman.toml")
    site.machine.run("systemctl start ecrlogind")
    [login] = json.loads(site.machine.run("ecrlogind status --json", check=False).stdout)["logins"]
    assert (login["state"], login["error"]["code"]) == ("failed", "read_only")

    site.install("/etc/systemd/system/ecrlogind.service.d/podman.conf", EXAMPLES / "plain-host/podman.conf")
    for _ in range(2):  # the second start finds it there
        site.machine.run("systemctl daemon-reload; systemctl restart ecrlogind")
        site.machine.run("ecrlogind wait --timeout 30s")
        assert site.machine.output("stat -c '%a %U' /run/containers/0/auth.json") == "600 root"
        site.machine.run(["su", "-", "root", "-c", f"skopeo inspect docker://{OWN}/team/app:1.4"])
    site.machine.run(f"test ! -e {ROOT_FILE}")
