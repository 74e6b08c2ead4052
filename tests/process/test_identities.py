"""Each kind of identity, by hand: the real `ecrlogind login`, and what AWS's record says of who asked."""

import os
import signal
from pathlib import Path

import pytest

from standin import Authority, Proxy
from tests.support.identities import ASSUME, CI, HOST, INSTANCE, KINDS, RUNNER, TOKEN, USER, WEB, kind, signed
from tests.support.keeper import Keeper, until
from tests.support.people import installation, person


@pytest.fixture
def log_in(keeper, aws):
    """Return what logs in with a kind of identity, once."""

    def once(one, **aws_settings):
        for path, (text, mode) in one.files.items():
            Path(path).write_text(text)
            Path(path).chmod(mode)
        keeper.write_settings(
            [{"host": HOST, **one.entry}], aws={"endpoints": aws.endpoints, **one.aws, **aws_settings}
        )
        keeper.environment |= one.environment
        done = keeper.run("login")
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    return once


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_of_identity_signs_what_it_should(name, log_in, keeper, aws, private_path):
    one = kind(name, aws, private_path)

    log_in(one)

    assert signed(aws, os.uname().nodename) == one.signed
    assert keeper.password(HOST) == aws.newest_password("eu-west-1")
    assert all(call.user_agent.startswith("ecrlogind/") for call in aws.calls(action=TOKEN))
    for call in aws.calls(service="sts"):
        assert call.user_agent.startswith("ecrlogind/")
        assert INSTANCE in call.user_agent or call.identity != RUNNER


def keys_file(path, user, profile="default"):
    """Write a credentials file with the keys of *user*, for its owner alone."""
    path.write_text(f"[{profile}]\naws_access_key_id = {user.access_key}\naws_secret_access_key = {user.secret_key}\n")
    path.chmod(0o600)
    return str(path)


@pytest.fixture
def wrong(aws, private_path):
    """Return an environment in which everything names somebody else, or nothing that works."""
    other = aws.user("999988887777", "other")
    config = private_path / "other-config"
    config.write_text(f"[profile other]\nrole_arn = {CI}\nsource_profile = other\n[profile ci]\nregion = us-east-1\n")
    return {
        "AWS_ACCESS_KEY_ID": other.access_key,
        "AWS_SECRET_ACCESS_KEY": other.secret_key,
        "AWS_PROFILE": "other",
        "AWS_CONFIG_FILE": str(config),
        "AWS_SHARED_CREDENTIALS_FILE": keys_file(private_path / "other-keys", other, "other"),
        "AWS_REGION": "sa-east-1",
    }


def test_profile_and_files_of_the_settings_win_over_the_environment(keeper, aws, wrong, private_path):
    config = private_path / "config"
    config.write_text(f"[profile ci]\nrole_arn = {CI}\nsource_profile = base\nrole_session_name = nightly\n")
    base = keys_file(private_path / "keys", aws.user("444455556666"), "base")
    keeper.environment |= wrong
    keeper.write_settings(
        [HOST],
        aws={"endpoints": aws.endpoints, "profile": "ci", "config_file": str(config), "credentials_file": base},
    )

    assert keeper.run("login").returncode == 0

    assert signed(aws, "") == [(ASSUME, USER), (TOKEN, "arn:aws:sts::222233334444:assumed-role/ci/nightly")]
    assert {call.region for call in aws.calls(service="sts")} == {"eu-west-1"}


@pytest.mark.parametrize(
    ("variants", "host"),
    [
        ({"use_fips": True}, "api.ecr-fips.eu-west-1.amazonaws.com"),
        ({"use_dualstack": True}, "ecr.eu-west-1.api.aws"),
        ({"use_fips": True, "use_dualstack": True}, "ecr-fips.eu-west-1.api.aws"),
    ],
)
def test_proxy_ca_bundle_and_variants_of_the_settings_win_over_the_environment(
    keeper, aws, private_path, variants, host
):
    stranger = Authority(private_path / "stranger")
    with Proxy(routes={"*": aws.tls_address}) as wanted, Proxy("refuse") as refused:
        keeper.environment |= {
            "AWS_CA_BUNDLE": str(stranger.file),
            "HTTPS_PROXY": refused.url,
            "AWS_USE_FIPS_ENDPOINT": "false",
            "AWS_USE_DUALSTACK_ENDPOINT": "false",
        }
        keeper.write_settings(
            [HOST],
            aws={
                "endpoints": {"imds": aws.endpoints["imds"]},
                "ca_bundle": str(aws.ca_file),
                "proxy": wanted.url,
                **variants,
            },
        )
        done = keeper.run("login")

    assert done.returncode == 0, done.stdout + done.stderr
    assert wanted.asked == [f"{host}:443"]
    assert refused.asked == []
    assert [call.host for call in aws.calls(service="ecr")] == [host]
    assert {call.proxied for call in aws.calls(service="imds")} == {False}


def test_endpoints_of_the_settings_win_over_those_of_the_environment(keeper, aws):
    dead = "http://127.0.0.1:9"
    keeper.environment |= {"AWS_ENDPOINT_URL": dead, "AWS_ENDPOINT_URL_ECR": dead, "AWS_ENDPOINT_URL_STS": dead}
    keeper.environment |= {"AWS_EC2_METADATA_SERVICE_ENDPOINT": dead, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}
    keeper.write_settings([{"host": HOST, "role_arn": CI}])

    done = keeper.run("login")

    assert done.returncode == 0, done.stdout


def test_without_settings_the_environment_counts(keeper, aws, private_path):
    with Proxy(routes={"*": aws.tls_address}) as proxy:
        keeper.environment |= {
            "AWS_CA_BUNDLE": str(aws.ca_file),
            "HTTPS_PROXY": proxy.url,
            "AWS_USE_FIPS_ENDPOINT": "true",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": aws.endpoints["imds"],
        }
        keeper.write_settings([HOST], aws={"deadline": "10s"})
        done = keeper.run("login")

    assert done.returncode == 0, done.stdout
    assert [call.host for call in aws.calls(service="ecr")] == ["api.ecr-fips.eu-west-1.amazonaws.com"]


def test_the_files_are_those_of_the_passwd_home_whatever_home_says(aws):
    with person() as ci, installation() as program:
        elsewhere = ci.home / "elsewhere"
        for home, account in ((ci.home, "444455556666"), (elsewhere, "999988887777")):
            (home / ".aws").mkdir(parents=True)
            keys_file(home / ".aws/credentials", aws.user(account))
        keeper = Keeper(ci.home, aws, program)
        keeper.write_settings([HOST], [{"user": ci.name}])
        for path in (ci.home, *ci.home.rglob("*")):
            os.chown(path, ci.uid, ci.uid)

        done = ci.run(*program, "login", "--config", keeper.config, env=keeper.environment | {"HOME": str(elsewhere)})

        assert done.returncode == 0, done.stdout + done.stderr
        assert signed(aws, "") == [(TOKEN, USER)]
        assert HOST in (ci.home / ".docker/config.json").read_text()


def test_a_token_file_that_nobody_uses_may_be_missing(log_in, keeper, aws, private_path):
    one = kind("profile with source_profile", aws, private_path)
    config, mode = one.files[f"{private_path}/config"]
    unused = f"[profile pod]\nrole_arn = {CI}\nweb_identity_token_file = /does/not/exist\n"
    one.files[f"{private_path}/config"] = (unused + config, mode)

    log_in(one)

    assert signed(aws, "") == one.signed
    assert WEB not in {call.action for call in aws.calls()}


def test_other_aws_settings_are_another_identity_at_once_after_a_reload(keeper, aws, private_path):
    keys = keys_file(private_path / "keys", aws.user("444455556666"))
    keeper.write_settings([HOST])
    with keeper.running():
        keeper.wait_for(states={HOST: "in_place"})
        by_instance = keeper.password(HOST)

        keeper.write_settings([HOST], aws={"endpoints": aws.endpoints, "credentials_file": keys})
        keeper.process.send_signal(signal.SIGHUP)

        until(lambda: keeper.password(HOST) not in (None, by_instance), "the login with the keys")
        assert signed(aws, "") == [(TOKEN, RUNNER), (TOKEN, USER)]


def test_other_variables_are_another_identity_at_once_after_a_restart_and_the_same_ask_for_nothing(keeper, aws):
    keeper.write_settings([HOST])
    for variables, expected in (
        ({}, [(TOKEN, RUNNER)]),
        ({}, []),
        (environment_of(aws.user("444455556666")), [(TOKEN, USER)]),
        ({}, []),
    ):
        aws.forget_calls()
        keeper.environment |= variables
        done = keeper.run("login")
        assert done.returncode == 0, done.stdout
        assert signed(aws, "") == expected


def environment_of(user):
    return {"AWS_ACCESS_KEY_ID": user.access_key, "AWS_SECRET_ACCESS_KEY": user.secret_key}
