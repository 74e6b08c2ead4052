"""boto3 without what it imports and we never use: transfers to S3, resources, documentation, other packages' versions.

That is a third of the time that it takes to load, and of the files.
"""

from __future__ import annotations

from functools import partial

from ecrlogind.understudies import understudied


def _nothing(*_: object, **__: object) -> None:
    """Stand in for a class whose instances are kept and never used."""


lean = partial(
    understudied,
    {
        "s3transfer.manager": {"TransferConfig": object},
        "boto3.resources.factory": {"ResourceFactory": _nothing},
        "botocore.docs.service": {"ServiceDocumenter": _nothing},
        "botocore.docs.docstring": dict.fromkeys(
            ("ClientMethodDocstring", "PaginatorDocstring", "WaiterDocstring"), _nothing
        ),
        "importlib.metadata": {"version": _nothing},
    },
)
