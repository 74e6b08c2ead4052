"""Every kind of identity that a host can have, in the settings, files and variables of whoever sets it up.

The same kinds are tried by hand and on booted systemd: `kind(name, aws, place)` makes one, and its `signed` is what the
stand-in's record must then say.
"""

from dataclasses import dataclass, field

from standin import Role

ACCOUNT = "444455556666"
HOST = f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com"
INSTANCE = "i-0123456789abcdef0"
RUNNER = f"arn:aws:sts::111122223333:assumed-role/runner/{INSTANCE}"
CI = "arn:aws:iam::222233334444:role/ci"
PULL = "arn:aws:iam::555566667777:role/pull"
USER = f"arn:aws:iam::{ACCOUNT}:user/ci"

TOKEN, ASSUME, WEB = "GetAuthorizationToken", "AssumeRole", "AssumeRoleWithWebIdentity"

# What a role's session is called that nobody named: by the instance, or by the host that is, as far as we know, none.
SESSION = f"ecrlogind-{INSTANCE}"
OF_HOST = "ecrlogind-HOST"


def session_of(role, name):
    """Return the ARN that *role* signs with in the session *name*."""
    return role.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/") + f"/{name}"


@dataclass
class Kind:
    """One way to have an identity. *entry* stands beside the registry's host, *files* map paths to text and mode.

    *signed* are the calls that must be made, in order: the action, and who signs it.
    """

    signed: list
    entry: dict = field(default_factory=dict)
    aws: dict = field(default_factory=dict)
    environment: dict = field(default_factory=dict)
    files: dict = field(default_factory=dict)


def _keys(aws):
    user = aws.user(ACCOUNT)
    return f"aws_access_key_id = {user.access_key}\naws_secret_access_key = {user.secret_key}\n"


def _instance_profile(aws, place):
    return Kind([(TOKEN, RUNNER)])


def _role(aws, place):
    aws.world.identities.roles[CI] = Role(external_id="runners")
    entry = {"role_arn": CI, "external_id": "runners", "session_name": "nightly", "duration": "20min", "scope": "pull"}
    return Kind([(ASSUME, RUNNER), (TOKEN, session_of(CI, "nightly"))], entry)


def _chain(aws, place):
    return Kind(
        [(ASSUME, RUNNER), (ASSUME, session_of(CI, SESSION)), (TOKEN, session_of(PULL, SESSION))],
        {"role_arn": [CI, PULL]},
    )


def _credential_source(aws, place):
    config = f"[profile ci]\nrole_arn = {CI}\ncredential_source = Ec2InstanceMetadata\n"
    return Kind(
        [(ASSUME, RUNNER), (TOKEN, session_of(CI, SESSION))],
        aws={"profile": "ci", "config_file": f"{place}/config"},
        files={f"{place}/config": (config, 0o644)},
    )


def _source_profile(aws, place):
    config = f"[profile ci]\nrole_arn = {CI}\nsource_profile = base\nrole_session_name = nightly\n"
    return Kind(
        [(ASSUME, USER), (TOKEN, session_of(CI, "nightly"))],
        {"profile": "ci"},
        {"config_file": f"{place}/config", "credentials_file": f"{place}/keys"},
        files={f"{place}/config": (config, 0o644), f"{place}/keys": (f"[base]\n{_keys(aws)}", 0o600)},
    )


def _static_keys(aws, place):
    return Kind(
        [(TOKEN, USER)],
        aws={"credentials_file": f"{place}/keys"},
        files={f"{place}/keys": (f"[default]\n{_keys(aws)}", 0o600)},
    )


def _static_keys_by_variable(aws, place):
    return Kind(
        [(TOKEN, USER)],
        environment={"AWS_SHARED_CREDENTIALS_FILE": f"{place}/keys", "AWS_PROFILE": "ci"},
        files={f"{place}/keys": (f"[ci]\n{_keys(aws)}", 0o600)},
    )


def _role_from_static_keys(aws, place):
    static = _static_keys(aws, place)
    static.entry = {"role_arn": CI, "session_name": "nightly"}
    static.signed = [(ASSUME, USER), (TOKEN, session_of(CI, "nightly"))]
    return static


def _web_identity(aws, place):
    aws.world.web_identity = "eyJ.web.identity"
    return Kind(
        [(WEB, None), (TOKEN, session_of(CI, OF_HOST))],
        environment={"AWS_ROLE_ARN": CI, "AWS_WEB_IDENTITY_TOKEN_FILE": f"{place}/token"},
        files={f"{place}/token": ("eyJ.web.identity", 0o600)},
    )


def _web_identity_of_profile(aws, place):
    aws.world.web_identity = "eyJ.web.identity"
    config = f"[profile ci]\nrole_arn = {CI}\nweb_identity_token_file = {place}/token\n"
    return Kind(
        [(WEB, None), (TOKEN, session_of(CI, OF_HOST))],
        aws={"profile": "ci", "config_file": f"{place}/config"},
        files={f"{place}/config": (config, 0o644), f"{place}/token": ("eyJ.web.identity", 0o600)},
    )


def _credential_process(aws, place):
    user = aws.user(ACCOUNT)
    answer = f'{{"Version": 1, "AccessKeyId": "{user.access_key}", "SecretAccessKey": "{user.secret_key}"}}'
    return Kind(
        [(TOKEN, USER)],
        aws={"config_file": f"{place}/config"},
        files={
            f"{place}/config": (f"[default]\ncredential_process = {place}/program --for ecr\n", 0o644),
            f"{place}/program": (f'#!/bin/sh\n[ "$*" = "--for ecr" ] || exit 3\necho \'{answer}\'\n', 0o755),
        },
    )


def _environment(aws, place):
    user = aws.user(ACCOUNT)
    return Kind(
        [(TOKEN, USER)],
        environment={"AWS_ACCESS_KEY_ID": user.access_key, "AWS_SECRET_ACCESS_KEY": user.secret_key},
    )


KINDS = {
    "instance profile": _instance_profile,
    "role": _role,
    "chain of roles": _chain,
    "profile with credential_source": _credential_source,
    "profile with source_profile": _source_profile,
    "static keys in a 0600 file": _static_keys,
    "static keys in a file that a variable names": _static_keys_by_variable,
    "role assumed with static keys": _role_from_static_keys,
    "web identity file": _web_identity,
    "web identity file of a profile": _web_identity_of_profile,
    "credential_process": _credential_process,
    "keys in the environment": _environment,
}


def kind(name, aws, place):
    """Return the kind *name*, whose files are to lie in *place*; keys and trust are made in *aws*."""
    return KINDS[name](aws, place)


def signed(aws, host_name):
    """Return what the record says of the signed calls, in order: the action, and who signed it."""
    return [
        (call.action, call.identity and call.identity.replace(f"/ecrlogind-{host_name}", f"/{OF_HOST}"))
        for call in aws.calls()
        if call.service in ("ecr", "ecr-public", "sts")
    ]
