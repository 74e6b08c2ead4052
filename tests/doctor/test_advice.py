"""A host put into a state: the doctor names that cause and nothing else, and whoever does as it says gets the image.

With a real dockerd, docker and systemd; the advice is followed to the letter (`ward.Ward.is_cured_of`).
"""

import json
import re

import pytest

from standin import Fault, Proxy
from tests.doctor.conftest import auth
from tests.doctor.ward import AWS, CONFIG, FAR, HOST, IMAGE, OTHER, ward
from tests.support.dockerd import dockerd
from tests.support.keeper import until
from tests.support.machine import machines_of_module

__all__ = ["dockerd", "machines_of_module"]

# One machine serves them all; who comes first makes it.
pytestmark = [pytest.mark.system, pytest.mark.xdist_group("ward"), pytest.mark.timeout(300)]

LONG = pytest.mark.long  # as the one beside it
FILE = "/home/ci/.docker/config.json"


@pytest.fixture(scope="module")
def ward_of_module(machines_of_module, tmp_path_factory):
    with ward(machines_of_module, tmp_path_factory.mktemp("ward")) as host:
        yield host


@pytest.fixture
def host(ward_of_module):
    ward_of_module.renew()
    return ward_of_module


def write(host, path, content, owner="ci"):
    """Replace a file of a user's."""
    text = content if isinstance(content, str) else json.dumps(content)
    owned = f"-o {owner} -g {owner}"
    directory = path.rpartition("/")[0]
    host.run(f"install -d -m 0700 {owned} {directory}; install -m 0600 {owned} /dev/stdin {path}", stdin=text)


def content(host, path=FILE):
    return json.loads(host.machine.read(path))


def test_a_healthy_host_has_nothing_wrong_and_the_image_comes(host):
    for user in ("root", "ci"):
        assert host.findings(user=user) == []
        assert host.findings(IMAGE, user=user) == []
    assert host.findings("--user", "ci", IMAGE, user="root") == []
    assert host.pulls()
    assert host.pulls(user="root")


# --- the daemon and its settings


def test_a_daemon_that_does_not_run(host):
    host.run(f"systemctl stop ecrlogind; rm {FILE}")

    host.is_cured_of("not_running")


def test_a_daemon_that_still_starts(host):
    slow = host.aws.fault(Fault(service="ecr", behaviour="hang"))
    host.restart()

    host.is_cured_of("not_ready", by_others=lambda _: slow.lift())


def test_settings_with_a_key_that_there_is_not(host):
    right = host.machine.read(CONFIG)
    host.restart(right.replace("registries =", "registrys ="))

    def mend(finding):
        assert "did you mean registries?" in finding["to_do"]
        host.run(f"cat >{CONFIG}", stdin=right)

    host.is_cured_of("bad_settings", by_others=mend)


def test_settings_that_the_user_may_not_read_are_told_as_not_seen(host):
    host.run(f"chmod 0600 {CONFIG}")

    found = host.doctor(IMAGE)

    assert found["healthy"]
    assert any(CONFIG in line and "sudo ecrlogind check" in line for line in found["unseen"])


def test_a_status_that_the_user_may_not_read(host):
    host.run("chmod 0700 /run/ecrlogind")

    host.is_cured_of("status_unreadable", pulls=True)


# --- AWS and the way to it


def test_getting_a_login_is_denied(host):
    denied = host.aws.deny("ecr:GetAuthorizationToken")
    host.restart()

    def allow(finding):
        assert "ecr:GetAuthorizationToken" in finding["what"]
        denied.lift()

    host.is_cured_of("access_denied", by_others=allow)


def test_assuming_the_role_is_denied(host):
    role = "arn:aws:iam::111122223333:role/ci"
    denied = host.aws.deny("sts:AssumeRole")
    host.restart(host.configure().replace(f'["{HOST}"]', f'[{{ host = "{HOST}", role_arn = "{role}" }}]'))

    def allow(finding):
        assert role in finding["what"]
        denied.lift()

    host.is_cured_of("assume_role_denied", by_others=allow)


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("throttled", Fault(service="ecr", error="ThrottlingException", status=400)),
        pytest.param("service_error", Fault(service="ecr", error="ServerException", status=500), marks=LONG),
        pytest.param("malformed_answer", Fault(service="ecr", behaviour="html"), marks=LONG),
        pytest.param("invalid_keys", Fault(service="ecr", error="UnrecognizedClientException", status=400), marks=LONG),
        ("imds_unreachable", Fault(service="imds", error="Forbidden", status=403)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_fault_of_aws_that_passes(host, code, fault):
    struck = host.aws.fault(fault)
    host.restart()

    host.is_cured_of(code, by_others=lambda _: struck.lift())


def test_an_instance_without_a_role(host):
    host.aws.instance.state = "no_role"
    host.restart()

    def attach(finding):
        assert "associate-iam-instance-profile" in finding["to_do"]
        host.aws.instance.state = "ok"

    host.is_cured_of("no_role", by_others=attach)


def test_metadata_beyond_its_hop_limit(host):
    host.aws.instance.state = "no_answer"
    host.restart(host.configure(deadline="3s"))

    def raise_the_limit(finding):
        assert "hop limit" in finding["what"] + finding["to_do"]
        host.aws.instance.state = "ok"

    host.is_cured_of("imds_unreachable", by_others=raise_the_limit)


def test_a_clock_that_is_wrong(host):
    host.aws.world.clock_skew = 7200
    host.restart()

    def set_it(finding):
        assert "169.254.169.123" in finding["to_do"]
        host.aws.world.clock_skew = 0

    host.is_cured_of("clock_skew", by_others=set_it)


def test_no_name_is_resolved(host):
    host.run("grep -v api.ecr.eu-west-1 /etc/hosts.right >/etc/hosts")
    host.restart(host.configure(deadline="3s"))

    host.is_cured_of("dns", by_others=lambda _: host.run("cat /etc/hosts.right >/etc/hosts") and None)


def test_no_network(host):
    host.run(f"sed 's/^{AWS}\\(.*api.ecr.eu-west-1\\)/10.99.99.99\\1/' /etc/hosts.right >/etc/hosts")
    host.restart(host.configure(deadline="3s"))

    host.is_cured_of("no_network", by_others=lambda _: host.run("cat /etc/hosts.right >/etc/hosts") and None)


def test_a_proxy_that_the_daemon_is_sent_to_and_that_is_not_there(host):
    unit = "/etc/systemd/system/ecrlogind.service.d/proxy.conf"
    host.run(f"cat >{unit}; systemctl daemon-reload", stdin="[Service]\nEnvironment=HTTPS_PROXY=http://127.0.0.1:1\n")
    host.restart(host.configure(deadline="3s"))

    def correct(finding):
        assert "HTTPS_PROXY" in finding["to_do"]
        host.run(f"rm {unit}; systemctl daemon-reload; systemctl restart ecrlogind")

    host.is_cured_of("proxy", by_others=correct)


def test_aws_behind_a_ca_that_nobody_knows(host):
    host.restart(host.configure().replace('ca_bundle = "/etc/ecrlogind/ca.pem"\n', ""))

    def name_it(finding):
        assert "[aws] ca_bundle" in finding["to_do"]
        host.run(f"cat >{CONFIG}; systemctl restart --no-block ecrlogind", stdin=host.configure())

    host.is_cured_of("tls", by_others=name_it)


# --- what the registry says


@pytest.mark.parametrize("action", ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"])
def test_a_role_that_may_log_in_and_lacks_an_action_of_a_pull(host, action):
    denied = host.aws.deny(action)

    def allow(finding):
        assert f":assumed-role/runner/{host.aws.instance.id} may not do {action} on team/app" in finding["what"]
        assert action in finding["to_do"]
        denied.lift()

    host.is_cured_of("pull_denied", by_others=allow)


def test_a_repository_of_another_account_that_does_not_let_us_in(host):
    host.renew([HOST, OTHER])
    denied = host.aws.deny("ecr:BatchGetImage", resource="*:222222222222:*")

    def allow(finding):
        assert "in account 222222222222" in finding["to_do"]
        denied.lift()

    host.is_cured_of("cross_account_denied", image=f"{OTHER}/team/app:v1", by_others=allow)


def test_our_login_was_revoked(host):
    # No check that was on its way before is to be taken for the one after.
    host.run("systemctl stop ecrlogind 'ecrlogind-issuer@*'")
    host.aws.forget_calls()
    host.restart()
    host.run("ecrlogind wait")
    # The keeper asks the registry after issuing, and would notice by itself; after that not for an hour.
    until(lambda: host.aws.calls(service="registry", action="ping", status=200), "the keeper's own check", 60)
    host.aws.revoke()

    host.is_cured_of("credential_rejected")


def test_somebody_else_s_login_that_the_registry_does_not_take(host):
    write(host, FILE, {"auths": {HOST: auth("of yesterday")}})

    host.is_cured_of("credential_rejected")


def test_somebody_else_s_login_that_has_expired(host):
    old = host.aws.newest_password("eu-west-1")
    host.aws.world.passwords.expire(old)
    host.restart()
    host.run("ecrlogind wait")
    write(host, FILE, {"auths": {HOST: auth(old)}})

    host.is_cured_of("credential_expired")


def test_a_login_of_another_region(host):
    host.renew([HOST, FAR])
    right = content(host)
    right["auths"][HOST] = right["auths"][FAR]
    write(host, FILE, right)

    host.is_cured_of("wrong_region")


@pytest.mark.parametrize(
    ("image", "code"),
    [
        ("team/missing:v1", "no_such_repository"),
        ("team/app:v2", "no_such_tag"),
        ("docker-hub/library/redis:7", "pull_through_missing"),
    ],
)
def test_an_image_that_is_not_there(host, image, code):
    def there_is_another(finding):
        assert "`aws ecr " in finding["to_do"]
        return IMAGE

    host.is_cured_of(code, image=f"{HOST}/{image}", by_others=there_is_another)


def test_layers_that_come_from_where_nobody_answers(host):
    host.run("grep -v starport-layer-bucket /etc/hosts.right >/etc/hosts")

    def give_it_an_endpoint(finding):
        assert "endpoint for S3" in finding["to_do"]
        host.run("cat /etc/hosts.right >/etc/hosts")

    host.is_cured_of("layers_unreachable", by_others=give_it_an_endpoint)


# --- how the image is written, and who asks


@pytest.mark.parametrize(
    "host_name",
    [HOST.upper(), f"{HOST}:443", HOST.replace(".dkr.ecr.", ".dkr.ecr-fips."), "111122223333.dkr-ecr.eu-west-1.on.aws"],
)
def test_another_way_to_write_the_host(host, host_name):
    host.is_cured_of("other_spelling", image=f"{host_name}/team/app:v1")


def test_a_registry_that_is_not_configured(host):
    host.is_cured_of("not_configured", image=f"{OTHER}/team/app:v1")


def test_a_registry_of_another_region(host):
    host.is_cured_of("other_region", image=f"{FAR}/team/app:v1")


def test_a_user_whom_nobody_logs_in(host):
    host.is_cured_of("not_for_this_user", user="deploy")


def test_a_runner_that_reads_root_s_home(host):
    host.renew(users=("ci",))
    runner = 'concurrent = 1\n[[runners]]\n  name = "one"\n  executor = "docker"\n  [runners.docker]\n'
    host.run("install -D -m 0600 /dev/stdin /etc/gitlab-runner/config.toml", stdin=runner)

    host.is_cured_of("wrong_home", user="root", asked=())


# --- the user's environment


def test_a_home_that_is_another_s(host):
    host.is_cured_of("home_elsewhere", shell="export HOME=/nowhere")


def test_a_docker_config_of_its_own(host):
    host.is_cured_of("docker_config_elsewhere", shell="export DOCKER_CONFIG=/home/ci/job")


def test_a_docker_config_that_is_the_file(host):
    host.is_cured_of("docker_config_is_a_file", shell=f"export DOCKER_CONFIG={FILE}")


# --- the user's files


def test_a_directory_that_root_closed(host):
    host.run("chown -R root: /home/ci/.docker; chmod 0700 /home/ci/.docker")

    host.is_cured_of("permission_denied")


def test_a_directory_that_root_made(host):
    host.run("rm -r /home/ci/.docker; install -d -m 0755 -o root -g root /home/ci/.docker")

    host.is_cured_of("wrong_owner")


@pytest.mark.parametrize(("text", "code"), [('{"auths": ', "invalid_json"), ("[]", "wrong_shape")])
def test_a_file_that_docker_cannot_read(host, text, code):
    write(host, FILE, text)

    def move_it_away(finding):
        assert "move it away" in finding["to_do"]
        host.run(f"mv {FILE} {FILE}.away")

    host.is_cured_of(code, by_others=move_it_away)


def test_one_entry_that_spoils_the_file(host):
    spoilt = content(host)
    write(host, FILE, {"auths": {**spoilt["auths"], "quay.io": {"auth": "%%%"}}})

    # docker reads a map in whatever order it comes: our entry may have its turn before the bad one.
    host.is_cured_of("bad_entry", pulls=None)


@pytest.mark.parametrize(
    ("named", "code"),
    [({"credsStore": "desk"}, "shadowed_by_store"), ({"credHelpers": {HOST: "desk"}}, "shadowed_by_helper")],
)
def test_a_helper_that_has_no_login_and_is_asked_first(host, named, code):
    script = "#!/bin/sh\necho credentials not found in native keychain\nexit 1\n"
    host.run("install -m 0755 /dev/stdin /usr/local/bin/docker-credential-desk", stdin=script)
    write(host, FILE, content(host) | named)

    host.is_cured_of(code)


def test_a_helper_that_is_not_installed(host):
    write(host, FILE, content(host) | {"credHelpers": {HOST: "nowhere"}})

    # docker before 29 falls back to the file, for a pull.
    host.is_cured_of("helper_missing", pulls=None)


def test_our_helper_that_is_not_in_the_path(host):
    host.run(f'sed -i \'s/user = "ci"/user = "ci", via = "helper"/\' {CONFIG}')
    host.restart()

    finding = host.is_cured_of("helper_missing")

    assert "ln -s /opt/ecrlogind/bin/docker-credential-ecrlogind" in finding["to_do"]


def test_our_helper_that_has_nothing_for_this_user(host):
    host.run("ln -s /opt/ecrlogind/bin/docker-credential-ecrlogind /usr/local/bin/")
    write(host, "/home/deploy/.docker/config.json", {"credHelpers": {HOST: "ecrlogind"}}, "deploy")

    host.is_cured_of("helper_has_none", user="deploy")


def test_what_the_old_helper_left(host):
    host.run("install -d -o ci -g ci /home/ci/.ecr")

    host.is_cured_of("old_cache", pulls=True)


# --- dockerd's own way


def test_dockerd_does_not_know_the_ca(host):
    host.run(f"rm /etc/docker/certs.d/{HOST}/ca.crt")

    host.is_cured_of("dockerd_ca")


def in_dockerd_s_unit(host, line):
    host.run(
        "install -D -m 0644 /dev/stdin /etc/systemd/system/docker.service.d/proxy.conf", stdin=f"[Service]\n{line}\n"
    )


def test_dockerd_goes_through_a_proxy_that_is_not_there(host):
    in_dockerd_s_unit(host, "Environment=HTTPS_PROXY=http://127.0.0.1:1")
    host.run("systemctl daemon-reload; systemctl restart docker")

    def name_no_proxy(finding):
        [path] = re.findall(r"in (/\S+\.conf)", finding["to_do"])
        host.run(f"echo 'Environment=NO_PROXY=.amazonaws.com' >>{path}")

    host.is_cured_of("dockerd_proxy", by_others=name_no_proxy)


def test_the_registry_is_reached_through_a_proxy_that_dockerd_does_not_know(host):
    host.run(f"sed 's/^{AWS}\\(.*{HOST}\\)/10.99.99.99\\1/' /etc/hosts.right >/etc/hosts")

    with host.machine.inside(lambda: Proxy(routes={"*": (AWS, 443)})) as proxy:

        def tell_dockerd(finding):
            assert "docker.service" in finding["to_do"]
            in_dockerd_s_unit(host, f"Environment=HTTPS_PROXY={proxy.url}")

        host.is_cured_of("dockerd_without_proxy", shell=f"export HTTPS_PROXY={proxy.url}", by_others=tell_dockerd)
        assert f"{HOST}:443" in proxy.asked


# --- the unit


def test_a_drop_in_under_which_nothing_can_be_delivered(host):
    path = "/etc/systemd/system/ecrlogind.service.d/local.conf"
    host.run(f"cat >{path}; systemctl daemon-reload", stdin="[Service]\nProtectHome=yes\n")
    host.restart()

    host.is_cured_of("sandbox_breaks")
    host.run(f"rm {path}; systemctl daemon-reload")
