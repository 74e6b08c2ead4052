"""What makes this process harmless: its limits, its silence, its files."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import resource
import sys
import threading
import traceback
import warnings
from typing import TYPE_CHECKING, Any

from ecrlogind.core.refusal import Code
from ecrlogind.issuer.refusals import failed

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from ecrlogind.core.wire import Aws

# Data, stacks and heap together. A question for many registries takes about 100 MiB.
MEMORY = 1 << 30
# More threads wait for the network than work: boto3 needs far less than this each.
STACK = 512 * 1024

_PR_SET_DUMPABLE = 4

_KEYS = frozenset({"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"})


# Models of services from somewhere else; a path that is not for us to read.
_OVERRULED = ("AWS_DATA_PATH", "AWS_CA_BUNDLE")


def harden() -> None:
    """Shut the process's memory to others, bound it, and make it keep quiet."""
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # RLIMIT_DATA counts what can be written to. RLIMIT_AS would count what is only reserved, too, which 64 MiB of
    # arena per thread and many a credential process's run time are.
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard), hard))
    threading.stack_size(STACK)
    logging.disable(logging.CRITICAL)  # botocore at DEBUG writes every answer, tokens and all
    warnings.simplefilter("ignore")
    gc.disable()  # models of services are many small objects; all that there is goes when the question is answered
    sys.excepthook = _report
    threading.excepthook = lambda crash: _report(crash.exc_type, crash.exc_value, crash.exc_traceback)
    sys.unraisablehook = lambda crash: _report(crash.exc_type, crash.exc_value, crash.exc_traceback)


def _report(kind: type[BaseException], _: BaseException | None, trace: TracebackType | None) -> None:
    """Say what kind of exception ended us and where: its text could be anything, a secret included."""
    frames = traceback.extract_tb(trace)
    place = f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else "an unknown place"  # noqa: PTH119
    os.write(2, f"ecrlogind.issuer: {kind.__name__} at {place}\n".encode("ascii", "replace"))


def take_channels() -> tuple[int, int]:
    """Return descriptors for the question and the answers; put nothing and stderr in the places of fd 0 and 1.

    So no library can print into the answers, and no credential process inherits the way to the keeper.
    """
    question, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return question, answers


def set_environment(environment: Mapping[str, str], aws: Aws, files: Mapping[str, str]) -> tuple[int, ...]:
    """Make the process's environment that of the question; return the descriptors that hold *files*.

    What the settings say wins over the environment, for each client that the SDK makes on its way. A file's text lies
    in memory, under the name /proc/self/fd/N, which its variable then holds. What is not given is empty: no home is
    looked into.
    """
    os.environ.clear()
    os.environ.update(environment)
    for name in _OVERRULED:
        os.environ.pop(name, None)
    for service in ("ecr", "ecr-public", "sts"):
        if url := aws.endpoints.get(service):
            os.environ[f"AWS_ENDPOINT_URL_{service.upper().replace('-', '_')}"] = url
            os.environ.pop("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", None)
    if aws.use_fips:
        os.environ["AWS_USE_FIPS_ENDPOINT"] = "true"
    if aws.use_dualstack:
        os.environ["AWS_USE_DUALSTACK_ENDPOINT"] = "true"
    os.environ |= {
        "HOME": "/nonexistent",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_V1_DISABLED": "true",
        # The mode "auto" would ask IMDS for the region, in botocore's own way.
        "AWS_DEFAULTS_MODE": "legacy",
    }
    descriptors = []
    for variable, text in files.items():
        descriptor = os.memfd_create(variable.lower())
        with open(descriptor, "wb", closefd=False) as file:
            file.write(text.encode(errors="surrogateescape"))
        os.environ[variable] = f"/proc/self/fd/{descriptor}"
        descriptors.append(descriptor)
    return tuple(descriptors)


class Processes:
    """Runs credential processes; ends those that are left at the end."""

    def __init__(self, descriptors: Iterable[int]) -> None:
        self._descriptors = tuple(descriptors)
        self._running: list[subprocess.Popen[bytes]] = []

    def popen(self, command: list[str], **streams: Any) -> subprocess.Popen[bytes]:
        """Start *command* with the environment of the question, without its keys."""
        # Loaded where needed: most hosts have no such process.
        import pwd
        import subprocess

        environment = {name: value for name, value in os.environ.items() if name not in _KEYS}
        environment["HOME"] = pwd.getpwuid(os.getuid()).pw_dir
        environment.setdefault("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        try:
            process = subprocess.Popen(
                command,
                **streams,
                stdin=subprocess.DEVNULL,
                env=environment,
                cwd="/",
                start_new_session=True,
                # The files of the question, under the very numbers that the variables name.
                pass_fds=self._descriptors,
            )
        except OSError as error:
            raise failed(
                Code.NO_CREDENTIALS,
                f"the credential_process {os.path.basename(command[0])} cannot be run: {error.strerror}",  # noqa: PTH119
                hint="It runs as the issuer's user (under systemd: ecrlogind), which must be able to run it.",
            ) from None
        self._running.append(process)
        return process

    def end(self) -> None:
        """Kill what still runs, with all that it started."""
        for process in self._running:
            if process.poll() is None:
                os.killpg(process.pid, 9)
