"""Profiles of the config file, whose text is all that the issuer has of it."""

import os

from ecrlogind.core.identity import Identity
from ecrlogind.core.wire import Call
from ecrlogind.issuer.tokens import laid_out
from tests.support.identities import CI, INSTANCE, RUNNER, session_of

CI_PROFILE = Call(Identity(profile="ci"), "eu-west-1")


def test_a_token_file_that_a_profile_names_comes_as_text_by_its_path(host):
    host.aws.world.web_identity = "eyJ.web.identity"
    config = f"[profile ci]\nrole_arn = {CI}\nweb_identity_token_file = /not/for/us to read  \n"

    host.issued(CI_PROFILE, files={"AWS_CONFIG_FILE": config, "/not/for/us to read": "eyJ.web.identity"})

    assert [call.action for call in host.aws.calls(service="sts")] == ["AssumeRoleWithWebIdentity"]


def test_only_the_paths_whose_text_came_are_put_in_place():
    config = "[profile a]\nweb_identity_token_file=/a\n[profile b]\nweb_identity_token_file = /b\n"

    files = laid_out({"AWS_CONFIG_FILE": config, "/a": "text of a"})

    assert set(files) == {"AWS_CONFIG_FILE"}
    [place] = [line.partition("=")[2] for line in files["AWS_CONFIG_FILE"].splitlines() if "/proc/" in line]
    with open(place) as file:
        assert file.read() == "text of a"
    assert "= /b" in files["AWS_CONFIG_FILE"]
    os.close(int(place.rpartition("/")[2]))


def test_a_profile_behind_which_the_instance_stands_is_told_apart_by_the_instance(host):
    config = (
        f"[profile ci]\nrole_arn = {CI}\nsource_profile = base\n"
        "[profile base]\nrole_arn = arn:aws:iam::111122223333:role/base\ncredential_source = Ec2InstanceMetadata\n"
    )

    host.issued(CI_PROFILE, files={"AWS_CONFIG_FILE": config})

    base = session_of("arn:aws:iam::111122223333:role/base", f"ecrlogind-{INSTANCE}")
    assert [signer[3] for signer in host.signers()] == [RUNNER, base, session_of(CI, f"ecrlogind-{INSTANCE}")]
    assert all(f"host/{INSTANCE}" in call.user_agent for call in host.aws.calls(service="sts"))


def test_profiles_that_name_each_other_are_refused_and_not_followed_for_ever(host):
    config = (
        f"[profile ci]\nrole_arn = {CI}\nsource_profile = base\n[profile base]\nrole_arn = {CI}\nsource_profile = ci\n"
    )

    assert host.refusal(CI_PROFILE, files={"AWS_CONFIG_FILE": config}).code == "no_credentials"
