"""A real registry: Debian's docker-registry, with TLS and Basic auth, and an image made on the spot."""

import base64
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import bcrypt

from standin.images import MANIFEST, image_of
from tests.support.hosts import loopback_address
from tests.support.need import need

DEADLINE = 20

# bcrypt looks at no more than this of a password; the registry's Go code cuts silently, Python's refuses more.
BCRYPT_LIMIT = 72


class Registry:
    """A running registry at *address* and *port*, which answers under every one of *hosts*."""

    def __init__(self, directory, authority, hosts, address, port):
        self.directory = directory
        self.authority = authority
        self.hosts = hosts
        self.address = address
        self.port = port
        self._htpasswd = directory / "htpasswd"
        self._written = 0

    @property
    def netloc(self):
        """Where to reach it without any name: ``address:port``."""
        return f"{self.address}:{self.port}"

    @property
    def log(self):
        """What the registry said so far: among it each request with its status."""
        return (self.directory / "log").read_text()

    def set_password(self, password, username="AWS"):
        """Let *password* be the only one that is taken, from the next request on."""
        hashed = bcrypt.hashpw(password.encode()[:BCRYPT_LIMIT], bcrypt.gensalt(4)).decode()
        fresh = self._htpasswd.with_suffix(".new")
        fresh.write_text(f"{username}:{hashed}\n")
        # It reads the file anew when its time has gone up, whole seconds on some file systems.
        self._written = max(self._written + 1, int(time.time()))
        os.utime(fresh, (self._written, self._written))
        fresh.rename(self._htpasswd)

    def accepts(self, password, username="AWS"):
        """Whether ``GET /v2/`` with *password* is answered with 200, not 401."""
        basic = base64.b64encode(f"{username}:{password}".encode()).decode()
        request = urllib.request.Request(f"https://{self.netloc}/v2/", headers={"Authorization": f"Basic {basic}"})
        context = ssl.create_default_context(cafile=self.authority.file)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        try:
            with opener.open(request, timeout=DEADLINE) as answer:
                return answer.status == 200
        except urllib.error.HTTPError as refusal:
            with refusal:
                if refusal.code != 401:
                    raise
                return False

    def push(self, image, password, username="AWS", architecture="amd64"):
        """Push an image of one small file as ``repo:tag``, with the password that is set now; return its digest."""
        need(shutil.which("skopeo"), "skopeo")
        layout = Path(tempfile.mkdtemp(dir=self.directory))
        digest = write_image(layout, image, architecture)
        trusted = layout / "certs"
        trusted.mkdir()
        shutil.copy(self.authority.file, trusted / "ca.crt")
        # In a file, for the command line may be read by all.
        login = layout / "auth.json"
        auth = base64.b64encode(f"{username}:{password}".encode()).decode()
        login.write_text(json.dumps({"auths": {self.netloc: {"auth": auth}}}))
        command = ["skopeo", "--insecure-policy", "copy", "--quiet", "--authfile", login, "--dest-cert-dir", trusted]
        done = subprocess.run(
            [*command, f"oci:{layout}:latest", f"docker://{self.netloc}/{image}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE * 3,
            env={"PATH": os.environ["PATH"], "HOME": str(layout)},
        )
        if done.returncode:
            raise AssertionError(f"skopeo: {done.stderr}\n{self.log}")
        shutil.rmtree(layout)
        return digest


@contextmanager
def running(directory, authority, *hosts, address=None, port=443, anonymous=False):
    """Run a registry in *directory*, with a certificate of *authority* for *hosts*; yield the `Registry`.

    *address* defaults to one that nobody else uses, so that many registries can have port 443; port 0 picks a free one.
    No password is taken before `Registry.set_password`; an *anonymous* one wants none.
    """
    need(shutil.which("docker-registry"), "docker-registry")
    need(shutil.which("setpriv"), "setpriv")
    address = address or (loopback_address() if port == 443 else "127.0.0.1")
    if port == 0:
        with socket.create_server((address, 0)) as free:
            port = free.getsockname()[1]
    directory.mkdir(parents=True, exist_ok=True)
    registry = Registry(directory, authority, hosts, address, port)
    registry.set_password(base64.b64encode(os.urandom(30)).decode())
    certificate, key = authority.leaf(*hosts, address, "localhost")
    settings = directory / "config.yml"
    described = {
        "version": 0.1,
        "log": {"level": "info", "accesslog": {"disabled": False}},
        "storage": {"filesystem": {"rootdirectory": str(directory / "storage")}},
        "http": {"addr": registry.netloc, "tls": {"certificate": str(certificate), "key": str(key)}},
    }
    if not anonymous:
        described["auth"] = {"htpasswd": {"realm": "https://registry/", "path": str(directory / "htpasswd")}}
    settings.write_text(json.dumps(described))  # JSON is YAML
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            # Should the tests be killed, it goes with them.
            ["setpriv", "--pdeathsig", "KILL", "docker-registry", "serve", settings],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"},
        )
    try:
        _wait_until_it_listens(registry, process)
        yield registry
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_it_listens(registry, process):
    ends_at = time.monotonic() + DEADLINE
    while True:
        try:
            socket.create_connection((registry.address, registry.port), timeout=1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > ends_at:
                raise AssertionError(f"docker-registry does not serve:\n{registry.log}") from None
            time.sleep(0.02)
        else:
            return


def write_image(layout, content, architecture="amd64"):
    """Write an OCI layout with one image of one layer of one file, ``/content``; return the manifest's digest."""
    digest, content_of = image_of(content, architecture)
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True)
    for each, data in content_of.items():
        (blobs / each.removeprefix("sha256:")).write_bytes(data)
    described = {"mediaType": MANIFEST, "digest": digest, "size": len(content_of[digest])}
    described["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [described]}))
    return digest
