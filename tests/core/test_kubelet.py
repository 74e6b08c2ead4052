"""kubelet's configuration for the registries configured, read back by a YAML reader."""

import yaml

from ecrlogind.core.kubelet import UNKNOWN_HOSTS, provider_config
from ecrlogind.core.wire import Instance
from tests.support.world import A, B, C, settings_of

ROLE = "arn:aws:iam::333333333333:role/push"


def provider(instance=None, **content):
    found = yaml.safe_load(provider_config(settings_of(**content), instance))
    assert (found["apiVersion"], found["kind"]) == ("kubelet.config.k8s.io/v1", "CredentialProviderConfig")
    [one] = found["providers"]
    return one


def test_kubelet_asks_for_every_registry_that_root_has_an_answer_for():
    one = provider(registries=[A, B, {"host": C, "name": "push", "role_arn": ROLE}], destinations=[{"user": "root"}])

    assert one == {
        "name": "ecrlogind-credential-provider",
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
        "defaultCacheDuration": "0s",
        "matchImages": [A, B],
    }


def test_a_named_registry_is_asked_for_once_root_is_given_it():
    one = provider(
        registries=[{"host": C, "name": "push", "role_arn": ROLE}],
        destinations=[{"user": "root", "registries": ["push"]}],
    )

    assert one["matchImages"] == [C]


def test_self_is_the_instance_s_registry_where_it_is_known_and_else_every_one():
    assert provider(Instance("111111111111", "eu-west-1", "i-1"), registries=["self"])["matchImages"] == [A]
    assert provider(registries=["self", B])["matchImages"] == [*UNKNOWN_HOSTS, B]
