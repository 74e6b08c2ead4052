"""A host as the scripts see it: /run, the user database and the clock of the boot; and the shells that run them."""

import json
import os
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from ecrlogind.core.answers import answer_text
from ecrlogind.core.credential import Credential, Secret
from ecrlogind.core.wire import Refusal
from tests.support.need import need

BIN = Path(__file__).parents[2] / "bin"
SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"], "busybox": ["busybox", "sh"]}

# In mount namespaces of their own, so that the scripts' own paths can be used and the machine's are left alone.
_ENTER = 'mount --bind "$0/run" /run && mount --bind "$0/passwd" /etc/passwd && cd "$0" && exec "$@"'


def uptime():
    return int(Path("/proc/uptime").read_text().partition(".")[0])


class Host:
    """One host. What runs there runs as root, of a user namespace if need be, unless a uid is given."""

    def __init__(self, directory, shell):
        self.directory = directory
        self.shell = SHELLS[shell]
        self.state = directory / "run/ecrlogind"
        self.home = directory / "home"
        self.own = directory / "run/user/0/ecrlogind-own"
        self.own_at_home = self.home / ".docker/ecrlogind-own"
        self.own.parent.mkdir(parents=True)
        self.home.mkdir()
        # Copies, where every user can reach them: a script is to need nothing beside it.
        shutil.copytree(BIN, directory / "run/bin")
        (directory / "passwd").write_text(f"first:x:7:7::/first:/bin/sh\nwho:x:0:0:,,,:{self.home}:/bin/sh\n")
        self.start()

    def start(self):
        """Let the keeper have spoken."""
        (self.state / "answers/0").mkdir(parents=True, exist_ok=True)
        self.tell({"version": 1, "ready": True, "registries": [{"host": "example.com"}]})

    def tell(self, document):
        (self.state / "status.json").write_text(json.dumps(document, indent=2) + "\n")

    def hold(self, host, *, password="password", left=3600, uid=0):
        """Let the keeper hold a credential for *host* that lives for *left* seconds more."""
        now = timedelta(seconds=uptime())
        credential = Credential("AWS", Secret(password), now, now + timedelta(seconds=left), now)
        # A moment when it was alive: what the file says of it later is the scripts' to find out.
        return self.put(host, answer_text(credential, host, None, timedelta(0)), uid=uid)

    def refuse(self, host, reason):
        return self.put(host, answer_text(None, host, reason, timedelta(0)))

    def put(self, host, text, *, uid=0):
        path = self.state / "answers" / str(uid) / host
        path.parent.mkdir(exist_ok=True)
        new = path.with_name(".new")
        new.write_text(text)
        new.rename(path)
        return path

    def inside(self, *command):
        """Return the command line that runs *command* there."""
        namespaces = ["--mount", "--propagation", "private"]
        if os.geteuid():
            namespaces += ["--user", "--map-root-user"]
        return ["unshare", *namespaces, "sh", "-c", _ENTER, str(self.directory), *map(str, command)]

    def command(self, name, *arguments, uid=None):
        """Return the command line that runs a script of ours there."""
        as_user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"] if uid else []
        return self.inside(*as_user, *self.shell, f"/run/bin/{name}", *arguments)

    def run(self, name, *arguments, stdin=b"", env=None, uid=None):
        return subprocess.run(
            self.command(name, *arguments, uid=uid),
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            env=self.environment(env),
            capture_output=True,
            check=False,
            timeout=60,
        )

    def environment(self, more=None):
        return {"PATH": os.environ["PATH"], "HOME": "/home/somebody-else", "USER": "nobody", **(more or {})}

    def helper(self, *arguments, stdin=b"", **options):
        """Return what the helper prints and its exit code; it never says anything on stderr."""
        done = self.run("docker-credential-ecrlogind", *arguments, stdin=stdin, **options)
        assert done.stderr == b""
        return done.stdout.decode(), done.returncode

    def get(self, host):
        """Return what the helper gives for *host*: user name and password."""
        text, code = self.helper("get", stdin=host)
        assert code == 0, text
        answer = json.loads(text)
        assert answer.keys() == {"ServerURL", "Username", "Secret"}
        return answer["Username"], answer["Secret"]

    def store(self, server, username, secret):
        asked = {"ServerURL": server, "Username": username, "Secret": secret}
        assert self.helper("store", stdin=json.dumps(asked)) == ("", 0)


@pytest.fixture(params=SHELLS)
def shell(request):
    need(shutil.which(SHELLS[request.param][0]), request.param)
    return request.param


@pytest.fixture
def host(tmp_path, shell):
    return _host(tmp_path, shell)


@pytest.fixture
def plain_host(tmp_path):
    """Return a host whose scripts run under what /bin/sh is there, for what has nothing to do with the shell."""
    return _host(tmp_path, "dash")


def _host(directory, shell):
    need(shutil.which("unshare"), "unshare, from util-linux")
    made = Host(directory / "host", shell)
    need(subprocess.run(made.inside("true"), check=False).returncode == 0, "mount namespaces")
    return made


@pytest.fixture
def denied():
    return Refusal("access_denied", "role/ci may not ask for a token", "Allow ecr:GetAuthorizationToken.")
