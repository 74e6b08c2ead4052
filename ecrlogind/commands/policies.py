"""policy: the least IAM policies for the registries configured."""

from __future__ import annotations

import argparse
import json
import sys

from ecrlogind.commands.configured import instance_of, load
from ecrlogind.commands.places import EXIT_OK, reader_state
from ecrlogind.commands.published import read
from ecrlogind.core.policy import UNKNOWN_ACCOUNT, policies
from ecrlogind.core.terraform import PRINCIPAL, terraform


def policy(options: argparse.Namespace) -> int:
    """Print the policies, as JSON or as Terraform."""
    settings = load(options)
    instance = instance_of(read(reader_state(options)).document)
    if options.terraform:
        print(terraform(policies(settings, instance, write=options.write_access, principal=PRINCIPAL)), end="")
        return EXIT_OK
    text = json.dumps(policies(settings, instance, write=options.write_access), indent=2)
    print(text)
    if UNKNOWN_ACCOUNT in text:
        what = "the instance's account is not known here: put it in the place of"
        print(f"note: {what} {UNKNOWN_ACCOUNT}, or run this where the keeper runs", file=sys.stderr)
    return EXIT_OK
