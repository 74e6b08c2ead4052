"""The real amazon-ebs builder, against moto's EC2 and IAM, with its SSH led into a container."""

import json
import os
import re
import shlex
import threading

import boto3
import pytest

from tests.support import baking, image
from tests.support.need import need

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("packer"), pytest.mark.timeout(400)]

# What a cloud image brings: a user for Packer's key, who may become root without a password.
_SSHD = """
set -e
apt-get --quiet=2 update
DEBIAN_FRONTEND=noninteractive apt-get --quiet=2 install --yes --no-install-recommends openssh-server sudo >/dev/null
useradd --create-home --shell /bin/bash ec2-user
install -d -o ec2-user -m 0700 ~ec2-user/.ssh
echo 'ec2-user ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/ec2-user
"""
_LISTEN = "mkdir -p /run/sshd && exec /usr/sbin/sshd -D -o ListenAddress=127.0.0.1 -p {}"
_KEYS = "/home/ec2-user/.ssh/authorized_keys"


@pytest.fixture
def ec2(monkeypatch):
    """Yield a client of moto's EC2, which Packer talks to as well; nobody may reach the real one."""
    from moto.server import ThreadedMotoServer

    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_EC2_METADATA_DISABLED": "true"}
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield boto3.client("ec2", region_name="us-east-1", endpoint_url=f"http://{host}:{port}")
    server.stop()


@pytest.fixture
def instance(dockerd, bare):
    """Yield the name and SSH port of a container that is to be the instance."""
    key = bare.rpartition(":")[2]

    def make(name):
        made = f"sshd-{key}"
        done = dockerd.docker("run", "--name", made, *baking.with_network(), bare, "sh", "-c", _SSHD, check=False)
        need(not done.returncode, f"a Debian mirror, for openssh-server: {done.stderr[-500:]}")
        dockerd.docker("commit", made, name)
        dockerd.docker("rm", made)

    with_sshd = image._image(dockerd, f"sshd:{key}", make)
    port, name = free_port(), f"instance-{os.getpid()}"
    options = ["--detach", "--network=host", "--name", name]
    dockerd.docker("run", *options, with_sshd, "sh", "-c", _LISTEN.format(port))
    yield name, port
    dockerd.docker("rm", "--force", name)


def free_port():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def play_cloud_init(dockerd, name, ec2, over):
    """Put the key pair that Packer makes into the instance, as cloud-init does from IMDS."""
    while not over.wait(0.1):
        if pairs := ec2.describe_key_pairs(IncludePublicKey=True)["KeyPairs"]:
            line = f"{' '.join(pairs[0]['PublicKey'].split()[:2])} {pairs[0]['KeyName']}"
            put = f"echo {shlex.quote(line)} >{_KEYS}; chown -R ec2-user {_KEYS}"
            dockerd.docker("exec", name, "sh", "-c", put)
            return


def lead_to(kitchen, endpoint, port):
    """Derive the template further: moto's endpoint, the container's SSH, and less of what moto does not keep."""
    template = kitchen.directory / "runner-ami.pkr.hcl"
    text, left_out = re.subn(r"\n  spot_tags +=[^\n]*", "", template.read_text())
    assert left_out == 1  # moto gives a fleet's instances no spot request that could be tagged
    elsewhere = f'custom_endpoint_ec2 = "{endpoint}"\n  ssh_host = "127.0.0.1"\n  ssh_port = {port}\n'
    template.write_text(text.replace('  ssh_interface = "public_ip"\n', f"  {elsewhere}"))


def test_an_ami_is_built_on_a_spot_instance_and_tagged(dockerd, kitchen, ec2, instance):
    name, port = instance
    lead_to(kitchen, ec2.meta.endpoint_url, port)
    over = threading.Event()
    cloud_init = threading.Thread(target=play_cloud_init, args=(dockerd, name, ec2, over))
    cloud_init.start()
    manifest = kitchen.directory / "manifest.json"
    variables = {"wheelhouse": baking.wheelhouse(), "manifest": manifest, "tags": '{ Team = "ci" }'}
    arguments = [option for key, value in variables.items() for option in ("-var", f"{key}={value}")]
    quick = {"AWS_POLL_DELAY_SECONDS": "1"}
    try:
        done = kitchen.packer("build", "-only=amazon-ebs.*", *arguments, environment=quick)
    finally:
        over.set()
        cloud_init.join()

    said = done.stdout
    assert "Launching a spot AWS instance" in said
    assert "verify: no credential is in this image" in said
    [ami] = [each for each in ec2.describe_images(Owners=["self"])["Images"] if each["ImageId"] in manifest.read_text()]
    assert re.fullmatch(r"ecrlogind-runner-al2023-amd64-\d+", ami["Name"])
    tags = {tag["Key"]: tag["Value"] for tag in ami["Tags"]}
    assert tags.items() >= {"Team": "ci", "Base": "al2023", "ManagedBy": "packer"}.items()
    assert tags["SourceAMIName"].startswith("al2023-ami-2023.")
    [spot] = [each for held in ec2.describe_instances()["Reservations"] for each in held["Instances"]]
    assert (spot["InstanceLifecycle"], spot["State"]["Name"]) == ("spot", "terminated")

    iam = boto3.client("iam", region_name="us-east-1", endpoint_url=ec2.meta.endpoint_url)
    assert (iam.list_roles()["Roles"], iam.list_instance_profiles()["InstanceProfiles"]) == ([], [])
    assert ec2.describe_key_pairs()["KeyPairs"] == []
    assert "packer" not in dockerd.docker("exec", name, "cat", _KEYS).stdout
    dockerd.docker("exec", name, "sh", "-c", "ecrlogind check && ! test -e /etc/ecrlogind/image-build")
    assert json.loads(manifest.read_text())["builds"]
