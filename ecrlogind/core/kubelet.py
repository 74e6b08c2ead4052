"""kubelet's `CredentialProviderConfig`: which images it asks `ecrlogind-credential-provider` for."""

from __future__ import annotations

import json
from collections.abc import Iterator

from ecrlogind.core.settings import RegistryEntry, Settings
from ecrlogind.core.wire import Instance

# What stands for a registry that only the instance knows. kubelet matches a star within one label.
UNKNOWN_HOSTS = ("*.dkr.ecr.*.amazonaws.com", "*.dkr.ecr.*.amazonaws.com.cn")

_HEAD = """\
# For kubelet's --image-credential-provider-config; the program lies in its --image-credential-provider-bin-dir.
apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
  - name: ecrlogind-credential-provider
    apiVersion: credentialprovider.kubelet.k8s.io/v1
    # Every answer says how long it may be kept, half of what is left of its life; this is for none.
    defaultCacheDuration: 0s
    matchImages:
"""


def provider_config(settings: Settings, instance: Instance | None) -> str:
    """Return the YAML for the registries that root has an answer for; *instance* is None while it is not known."""
    names = {
        name
        for destination in settings.destinations
        if destination.user == "root"
        for name in destination.registries or ()
    }
    entries = [entry for entry in settings.registries if not entry.named or entry.name in names]
    hosts = dict.fromkeys(host for entry in entries for host in _hosts(entry, instance))
    return _HEAD + "".join(f"      - {json.dumps(host)}\n" for host in hosts)


def _hosts(entry: RegistryEntry, instance: Instance | None) -> Iterator[str]:
    known = entry.registries(instance)
    yield from (registry.host for registry in known)
    if not known:
        yield from UNKNOWN_HOSTS
