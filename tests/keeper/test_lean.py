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
