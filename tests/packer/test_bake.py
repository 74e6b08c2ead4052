"""Images baked for real, by packer in a dockerd, and booted: the story of docs/guides/packer.md."""

import base64
import re
import tarfile

import pytest

from standin import StandIn
from tests.support.baking import PACKER, Kitchen
from tests.support.hosts import api_names

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("packer"), pytest.mark.timeout(400)]

IMDS = "169.254.169.254"
AWS = "127.0.0.10"
REGIONS = ("eu-west-1", "us-east-1")
HOSTS = {region: f"111122223333.dkr.ecr.{region}.amazonaws.com" for region in REGIONS}
NAMES = dict.fromkeys([*api_names(*REGIONS), *HOSTS.values()], AWS)

# No secret, but of the form of one. Base64 as a client writes it, and the password in it.
PASSWORD = base64.b64encode(b'{"payload":"' + b"planted" * 12 + b'"}').decode()
TOKEN = base64.b64encode(f"AWS:{PASSWORD}".encode()).decode()
LOGIN = f'{{"auths": {{"{HOSTS["eu-west-1"]}": {{"auth": "{TOKEN}"}}}}, "detachKeys": "ctrl-e,e"}}'
KEYS = f"[default]\naws_secret_access_key = {PASSWORD[:40]}\n"

# Where builds leave credentials, and what each would hold.
PLACES = {
    "/root/.docker/config.json": LOGIN,
    "/home/runner/.docker/config.json": LOGIN,
    "/home/runner/.docker/.ecrlogind.12345678.new.0123456789abcdef": LOGIN,
    "/home/runner/.docker/ecrlogind-own": PASSWORD,
    "/home/runner/.dockercfg": f'{{"host": {{"auth": "{TOKEN}"}}}}',
    "/home/runner/.config/containers/auth.json": LOGIN,
    "/home/runner/.aws/credentials": KEYS,
    "/home/runner/.aws/sso/cache/0123.json": PASSWORD,
    "/home/runner/.ecr/cache.json": PASSWORD,
    "/home/runner/.netrc": f"machine example.org password {PASSWORD}",
    "/home/runner/.git-credentials": f"https://u:{PASSWORD}@example.org",
    "/home/runner/.bash_history": f"docker login -p {PASSWORD}",
    "/root/.zsh_history": f"docker login -p {PASSWORD}",
    "/run/containers/0/auth.json": LOGIN,
    "/run/ecrlogind/credentials/0": PASSWORD,
    "/var/lib/kubelet/config.json": LOGIN,
    "/etc/credstore/registry": PASSWORD,
    "/etc/credstore.encrypted/registry": PASSWORD,
    "/var/lib/systemd/credential.secret": PASSWORD,
    "/var/lib/cloud/instances/i-1/user-data.txt": f"#!/bin/sh\ndocker login -p {PASSWORD}",
    "/var/log/cloud-init-output.log": PASSWORD,
    "/tmp/packer-upload": PASSWORD,
}
# Places that scrub.sh does not know, or leaves be because they may hold what is wanted.
ELSEWHERE = {
    "/home/runner/.aws/config": KEYS,
    "/etc/environment": f"REGISTRY_PASSWORD={PASSWORD}",
    "/srv/build/notes": TOKEN,
    "/var/log/build.log": "key AKIAQWERTYUIOP234567 used",
}


def planting(places):
    """Return a shell script that plants them all."""
    lines = [
        f"mkdir -p '{path.rpartition('/')[0]}'\ncat >'{path}' <<'EOF'\n{text}\nEOF\n" for path, text in places.items()
    ]
    return "".join(["#!/bin/sh\nset -e\n", *lines, "chown -R runner: /home/runner\n"])


@pytest.fixture(scope="session")
def baked(dockerd, bare, tmp_path_factory):
    """Return an image whose build left a login in every place, and what packer said; made without any network."""
    kitchen = Kitchen.furnish(tmp_path_factory.mktemp("bake") / "packer")
    kitchen.insert(planting(PLACES))
    return kitchen.bake(dockerd, bare)


@pytest.fixture
def aws(tmp_path):
    with StandIn(tmp_path) as aws:
        yield aws


@pytest.fixture
def host(machines, aws, baked):
    """Yield a machine of the baked image with what a fleet's own image brings; switched off.

    A runner's unit, and a script that cloud-init runs at each boot: by a unit of that name and place, for a Debian from
    debootstrap has no cloud-init.
    """
    machine = machines.make(source=baked[0], hosts=NAMES)
    machine.write("/etc/ecrlogind/ca.pem", aws.ca_file.read_text())
    machine.write("/etc/ecrlogind/config.d/90-test.toml", '[aws]\nca_bundle = "/etc/ecrlogind/ca.pem"\n')
    seen = "cp ~/.docker/config.json"
    machine.write(
        "/var/lib/cloud/scripts/per-boot/runner.sh", f"#!/bin/sh\nsu runner -c '{seen} ~/seen-per-boot'\n", mode=0o755
    )
    unit = "[Service]\nType=oneshot\n{}\n[Install]\nWantedBy=multi-user.target\n"
    cloud = "ExecStart=/bin/run-parts --regex=. --exit-on-error /var/lib/cloud/scripts/per-boot"
    machine.write("/etc/systemd/system/cloud-final.service", unit.format(cloud))
    runner = f"User=runner\nExecStart=/bin/sh -c '{seen} ~/seen-by-unit'"
    machine.write("/etc/systemd/system/gitlab-runner.service", unit.format(runner))
    machine.boot()
    machine.run("systemctl enable cloud-final gitlab-runner && systemctl is-enabled ecrlogind")
    machine.shut_down()
    return machine


def connect(host, aws):
    """Let the network of a host carry."""
    host.give_address(f"{IMDS}/32")
    host.inside(lambda: (aws.listen(IMDS, 80, tls=False), aws.listen(AWS)))


@pytest.mark.parametrize("region", REGIONS)
def test_an_instance_is_logged_in_to_its_own_region_before_its_runner_starts(host, aws, region):
    aws.instance.region = region
    host.boot()
    host.wait_for("systemctl is-active ecrlogind | grep -x activating")
    connect(host, aws)
    for each in ("seen-by-unit", "seen-per-boot"):
        host.wait_for(f"test -s /home/runner/{each}")
        assert host.read(f"/home/runner/{each}") == host.read("/home/runner/.docker/config.json")
    assert f'"{HOSTS[region]}"' in host.read("/home/runner/.docker/config.json")
    assert '"detachKeys"' in host.read("/home/runner/.docker/config.json")
    assert host.output("ecrlogind status --json | grep -c in_place") == "2"


def test_nothing_starts_before_the_scrub_and_a_login_in_the_build_is_undone_by_it(host, aws, kitchen):
    host.write("/etc/ecrlogind/image-build", "")
    for name in ("scrub.sh", "verify.sh"):
        host.write(f"/root/{name}", (kitchen.directory / name).read_text())
    host.boot()
    host.wait_for("systemctl is-active multi-user.target")
    connect(host, aws)
    assert host.settings_of("ecrlogind", "ActiveState", "ConditionResult") == {
        "ActiveState": "inactive",
        "ConditionResult": "no",
    }
    assert not aws.calls(service="ecr")

    host.run("ecrlogind login")
    assert HOSTS["eu-west-1"] in host.read("/home/runner/.docker/config.json")
    refused = host.run("bash /root/verify.sh", check=False)
    assert refused.returncode
    for each in ("/root/.docker/config.json: a login", "/run/ecrlogind/credentials: ", "/etc/ecrlogind/image-build"):
        assert f"verify: {each}" in refused.stderr

    secrets = aws.secrets()
    host.run(
        "rm /home/runner/seen-* /var/lib/cloud/scripts/per-boot/runner.sh; bash /root/scrub.sh && bash /root/verify.sh"
    )
    for secret in secrets:
        assert host.run(["grep", "-rslaF", secret, "/root", "/home", "/run", "/etc", "/var"], check=False).stdout == ""
    host.reboot()
    host.wait_for("systemctl is-active ecrlogind | grep -x activating")


def test_a_clean_build_carries_no_token_in_any_layer(dockerd, baked, tmp_path):
    image, said = baked
    scrubbed = re.findall(r"scrub: (?:removed|took the logins out of) (/.*)", said)
    for path in PLACES:
        assert any(path.startswith(each) for each in scrubbed), path
    layers = 0
    exported = tmp_path / "image.tar"
    with exported.open("wb") as file:
        dockerd.docker("save", image, capture_output=False, stdout=file, text=None)
    with tarfile.open(exported) as whole:
        for member in filter(tarfile.TarInfo.isfile, whole):
            content = whole.extractfile(member).read()
            layers += len(content) > 1 << 20
            for secret in (TOKEN, PASSWORD, PASSWORD[:40]):
                assert secret.encode() not in content, member.name
    assert layers >= 2


def test_a_token_in_any_place_makes_the_build_fail_by_name(dockerd, baked, kitchen):
    kitchen.insert(planting(PLACES | ELSEWHERE), before_verify=True)
    image, said = kitchen.bake(dockerd, baked[0], check=False)
    assert image is None
    findings = [line.partition("verify: ")[2] for line in said.splitlines() if "verify: " in line]
    for path in PLACES | ELSEWHERE:
        assert [line for line in findings if path.startswith(line.split(": ")[0])], f"{path} was not found"
    assert TOKEN not in said
    assert PASSWORD[:40] not in said
    assert "nothing to do" in said or "image-build" in said


@pytest.mark.parametrize("path", ELSEWHERE)
def test_a_token_where_scrub_does_not_look_is_found_all_the_same(dockerd, baked, path):
    """One by one, so that no finding hides behind another; by the script alone, which takes seconds."""
    script = planting({path: ELSEWHERE[path]}) + "STAGE=/nonexistent bash /verify.sh"
    mount = f"{PACKER / 'verify.sh'}:/verify.sh:ro"
    done = dockerd.docker("run", "--rm", "--network=none", "-v", mount, baked[0], "sh", "-c", script, check=False)
    assert done.returncode == 1
    assert f"verify: {path}: " in done.stderr
    assert "verify: 1 found" in done.stderr


def test_files_of_root_s_in_the_runner_s_home_are_found_before_the_host_fails_to_log_in(dockerd, baked):
    script = "chown root ~runner/.docker/config.json; STAGE=/nonexistent bash /verify.sh"
    mount = f"{PACKER / 'verify.sh'}:/verify.sh:ro"
    done = dockerd.docker("run", "--rm", "--network=none", "-v", mount, baked[0], "sh", "-c", script, check=False)
    assert done.returncode == 1
    assert "verify: /home/runner/.docker/config.json belongs to root and not to runner" in done.stderr
    assert "verify: 1 found" in done.stderr
