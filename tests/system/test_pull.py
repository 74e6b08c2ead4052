"""The whole line, with real parts: from the settings to a pull with unmodified docker and skopeo.

The registry is Debian's docker-registry on its real name; AWS is the stand-in, over TLS on AWS's real names.
"""

import pytest

from tests.support import registry
from tests.support.hosts import api_names, on_real_names, resolving
from tests.support.keeper import Keeper, until
from tests.support.people import installation, person

pytestmark = pytest.mark.system

REGION = "eu-north-1"


@pytest.fixture
def real(aws, tmp_path):
    """Run a registry that has `app:v1`, and let AWS's API stand where it stands for everybody else."""
    host = "555566667777.dkr.ecr.eu-north-1.amazonaws.com"
    with (
        registry.running(tmp_path / "registry", aws.authority, host) as one,
        resolving(one.address, host),
        on_real_names(aws, *api_names(REGION)),
    ):
        one.set_password("the password of whoever filled it")
        one.push("app:v1", "the password of whoever filled it")
        one.set_password("nobody knows")
        yield one


def aws_settings(aws):
    return {"ca_bundle": str(aws.ca_file), "endpoints": {"imds": aws.endpoints["imds"]}}


def test_docker_pulls_after_the_login_and_again_after_the_renewal(keeper, aws, real, dockerd):
    [host] = real.hosts
    image = f"{host}/app:v1"
    keeper.write_settings([host], aws=aws_settings(aws))

    def pull():
        dockerd.docker("image", "rm", image, check=False)
        return dockerd.docker("--config", keeper.destination().parent, "pull", image, check=False).returncode == 0

    assert not pull()
    assert keeper.run("login").returncode == 0, keeper.run("login").stdout
    real.set_password(aws.newest_password(REGION))
    assert pull()

    real.set_password("rotated")
    assert not pull()
    aws.world.lifetime = 4
    (keeper.state / "credentials").rename(keeper.state / "gone")
    with keeper.running():
        first = until(lambda: keeper.password(host), "the login")
        second = until(lambda: keeper.password(host) not in (None, first) and keeper.password(host), "the renewal")
        real.set_password(second)
        aws.world.lifetime = 3600
        assert pull()


def test_skopeo_pulls_as_a_second_user_from_that_user_s_own_file(aws, real, tmp_path):
    [host] = real.hosts
    with person() as ci, installation() as program:
        keeper = Keeper(tmp_path, aws, program)
        keeper.write_settings([host], [{"user": ci.name}], aws=aws_settings(aws))
        file = ci.home / ".docker" / "config.json"
        certificates = ci.home / "certs"
        certificates.mkdir(mode=0o755)
        (certificates / "ca.crt").write_bytes(aws.ca_file.read_bytes())
        (certificates / "ca.crt").chmod(0o644)

        def pull():
            where = f"docker://{host}/app:v1"
            done = ci.run("skopeo", "--tmpdir", ci.home, "inspect", "--cert-dir", certificates, where)
            return done.returncode == 0

        assert not pull()
        done = keeper.run("login")
        assert done.returncode == 0, done.stdout + done.stderr
        real.set_password(aws.newest_password(REGION))
        assert pull()
        assert file.stat().st_uid == ci.uid
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.parent.stat().st_mode & 0o777 == 0o700

        real.set_password("rotated")
        assert not pull()
        aws.world.lifetime = 4
        (keeper.state / "credentials").rename(keeper.state / "gone")
        old = file.read_text()
        with keeper.running():
            until(lambda: file.read_text() != old, "the next login")
            first = file.read_text()
            until(lambda: file.read_text() != first, "the renewal")
            aws.world.lifetime = 3600
            until(lambda: real.set_password(aws.newest_password(REGION)) or pull(), "a pull with the renewed login")
