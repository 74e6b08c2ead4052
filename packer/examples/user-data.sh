#!/bin/bash
# User data of an instance of the baked AMI: nothing is downloaded. cloud-final.service, which runs this, starts after
# the logins are in place, so a runner that is started here finds them.
set -euo pipefail

# Only if this fleet needs more than the image's own settings: a file beside them.
cat >/etc/ecrlogind/config.d/50-fleet.toml <<'TOML'
registries = [
  { account = "210987654321", region = "self" }, # the central account, in whichever region this is
]
TOML
systemctl reload ecrlogind

# For the registries of that file; without it the logins are there already and this returns at once.
ecrlogind wait --timeout 1min
