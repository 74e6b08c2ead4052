"""Libraries that load without what they name and never use."""

import subprocess
import sys


def run(code):
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_an_understudy_gives_what_importers_take_and_leaves_no_trace():
    assert run(
        "import sys\n"
        "from ecrlogind.keeper.lean import lean\n"
        "with lean():\n"
        "    from asyncio import iscoroutinefunction\n"
        "async def coroutine(): ...\n"
        "print(iscoroutinefunction(coroutine), iscoroutinefunction(print), 'asyncio' in sys.modules)\n"
        "import asyncio\n"
        "print(asyncio.run(asyncio.sleep(0, 'real')))\n"
    ) == ["True", "False", "False", "real"]


def test_what_another_version_of_a_library_takes_is_the_real_module_s():
    assert run(
        "import sys\n"
        "from ecrlogind.keeper.lean import lean\n"
        "with lean():\n"
        "    import asyncio\n"
        "    from asyncio import sleep, run\n"
        "    from importlib.metadata import version, requires\n"
        "print(run(sleep(0, 'real')), asyncio.run is run, requires.__module__, sys.modules['asyncio'].run is run)\n"
    ) == ["real", "True", "importlib.metadata", "True"]


def test_what_is_loaded_already_stays():
    assert run(
        "import asyncio, sys\n"
        "from ecrlogind.keeper.lean import lean\n"
        "with lean():\n"
        "    import asyncio as again\n"
        "print(again is asyncio, sys.modules['asyncio'] is asyncio)\n"
    ) == ["True", "True"]


def test_the_issuer_has_a_client_without_transfers_resources_and_documentation():
    loaded = run(
        "import sys\n"
        "from ecrlogind.issuer import chain, ecr\n"
        "import boto3\n"
        "keys = {'aws_access_key_id': 'a', 'aws_secret_access_key': 'b'}\n"
        "boto3.session.Session(region_name='eu-west-1', **keys).client('ecr').get_authorization_token\n"
        "print(*sys.modules)\n"
    )

    assert {"boto3.session", "botocore.client"} <= set(loaded)
    dear = ("s3transfer", "multiprocessing", "boto3.resources.factory", "botocore.docs.method", "importlib.metadata")
    assert not [each for each in dear if each in loaded]


def test_whoever_asks_the_issuer_s_boto3_for_what_is_left_out_gets_the_real_thing():
    assert run(
        "from ecrlogind.issuer import chain, ecr\n"
        "from s3transfer.manager import TransferConfig, TransferManager\n"
        "from botocore.docs.service import ServiceDocumenter\n"
        "print(TransferConfig().max_request_concurrency, TransferManager.__module__, ServiceDocumenter.__module__)\n"
    ) == ["10", "s3transfer.manager", "botocore.docs.service"]
