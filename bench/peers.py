"""What people use today."""

from __future__ import annotations

from bench.measure import Contender
from bench.place import REGION, Place, role_of

CLI, GO, SCRIPT = "aws cli and docker login", "Amazon's Go helper", "bare boto3 script"
PROFILES = "aws cli with profiles, docker login"

BARE_SCRIPT = """
import base64, boto3, json, sys
client = boto3.client("ecr", region_name=sys.argv[1])
token = client.get_authorization_token()["authorizationData"][0]["authorizationToken"]
base64.b64decode(token)
open(sys.argv[2], "w").write(json.dumps({"auths": {host: {"auth": token} for host in sys.argv[3:]}}))
"""


def cli(place: Place, hosts: list[str]) -> Contender:
    """Return the AWS CLI, asked for each of *hosts*, with docker's login after it."""
    login = f"{place.aws_cli}/bin/aws ecr get-login-password | docker login --username AWS --password-stdin"
    return place.contender(CLI, "sh", "-ec", "\n".join(f"{login} {host}" for host in hosts))


def go_helper(place: Place, hosts: list[str]) -> Contender:
    """Return Amazon's credential helper with an empty cache, asked for each of *hosts*."""
    lines = [f"echo {host} | docker-credential-ecr-login get" for host in hosts]
    return place.contender(GO, "sh", "-ec", "\n".join(lines))


def script(place: Place, hosts: list[str]) -> Contender:
    """Return what somebody would write in a minute: no errors, no renewal, no other writers."""
    python, file = place.boto3 / "bin" / "python", place.docker_config / "config.json"
    return place.contender(SCRIPT, str(python), "-c", BARE_SCRIPT, REGION, str(file), *hosts)


def profiles(place: Place, hosts: list[str]) -> Contender:
    """Return the AWS CLI with a profile for each of *hosts*, and docker's login after it."""
    config = place.directory / "aws-config"
    config.write_text(
        "".join(
            f"[profile r{n}]\nrole_arn = {role_of(host)}\ncredential_source = Ec2InstanceMetadata\n"
            for n, host in enumerate(hosts)
        )
    )
    lines = [
        f"{place.aws_cli}/bin/aws --profile r{n} ecr get-login-password | "
        f"docker login --username AWS --password-stdin {host}"
        for n, host in enumerate(hosts)
    ]
    return place.contender(PROFILES, "sh", "-ec", "\n".join(lines), AWS_CONFIG_FILE=str(config))
