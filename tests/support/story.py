"""A row as a story: the real daemon with four logins, something that goes wrong, and a look at all that must hold.

The standing set is two registries at two destinations. VICTIM is asked for as the instance, in one region; SOUND with
keys of its own, in another. ``one`` and ``two`` hold somebody else's logins already. What a story's fault affects it
says by `affects`; everything else must be in place at the end.
"""

import base64
import json
import os
import re
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import ecrlogind
from standin import Fault
from standin.registry import accepts
from tests.support.canary import Sampler
from tests.support.invariants import Destination, Evidence, broken
from tests.support.keeper import Keeper, until
from tests.support.truth import Held, Stands, Truth

VICTIM = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
SOUND = "444455556666.dkr.ecr.us-east-1.amazonaws.com"
IN_EU = {"service": "ecr", "region": "eu-west-1"}

FOREIGN_PASSWORD = "SomebodyElsesPasswordAtQuay0123456789"
FOREIGN = (
    '{\n  "HttpHeaders" : {"X-Meta":"a\\u0062"}, "n": 12345678901234567890,\n'
    '  "auths": {"quay.io": {"auth": "' + base64.b64encode(f"me:{FOREIGN_PASSWORD}".encode()).decode() + '" }},\n'
    '    "detachKeys":"ctrl-e,e",  "x": 1e400,\n\t"credHelpers": {"gcr.io": "gcloud"}\n}\n\n'
).encode()

_REGION = re.compile(r"\b[a-z]{2,}(?:-[a-z]+)+-\d\b")
_REGIONS = [
    f"{where}-{number}"
    for number in (1, 2, 3)
    for where in (
        "ap-east",
        "ap-south",
        "ap-northeast",
        "ap-southeast",
        "ca-central",
        "eu-central",
        "eu-north",
        "eu-south",
    )
]

# A core would be a whole memory, and lie in the working directory.
_ANYWHERE = 'ulimit -c unlimited; cd "$0"; exec "$@"'
_SAMPLED_EVERY = 0.02


class Story:
    """One host whose daemon something happens to."""

    def __init__(self, directory, aws):
        self.aws = aws
        self.directory = directory
        self.keeper = Keeper(directory, aws)
        self.temporary = directory / "tmp"
        self.temporary.mkdir()
        self.keeper.environment |= {
            "TMPDIR": str(self.temporary),
            "PYTHONPATH": str(Path(ecrlogind.__file__).parents[1]),
        }
        self.credentials = directory / "keys"
        self._add_keys("sound", "444455556666")
        self.destinations = {name: self.keeper.destination(name) for name in ("one", "two")}
        self.foreign: dict[str, bytes | None] = dict.fromkeys(self.destinations, FOREIGN)
        for path in self.destinations.values():
            path.parent.mkdir()
            path.write_bytes(FOREIGN)
        self.secrets = [FOREIGN_PASSWORD]
        self.labels = {name: str(path) for name, path in self.destinations.items()}
        self.opened = ExitStack()
        self.rewritten, self.unfit, self.hindered, self.shadowed = set(), set(), set(), set()
        self.out_of_reach, self.stand_ins, self.others = set(), set(), set()
        self.refused, self.rejected, self.absent, self.given_though_altered = set(), set(), set(), set()
        self.problem = False
        self.ends_with = None
        self.hurries = 0
        self.endpoints, self.of_aws, self.sections = dict(aws.endpoints), {}, {}
        self.victim = {"host": VICTIM}
        self.registries = [{"host": SOUND, "profile": "sound"}]
        self.entries = [{"path": str(path)} for path in self.destinations.values()]
        self.affects(VICTIM)
        self._sampler = None
        self._seen, self._of_processes = set(), set()
        self._files = {name: set() for name in self.destinations}
        self._said = []

    # --- what the world is like

    def affects(self, *hosts, destination=None):
        """Say what the fault may touch: the logins of *hosts*, or everything that goes to one *destination*."""
        label = self.label(destination)
        self.affected = lambda host, at: host in hosts or at == label

    def ask_with_keys(self, url):
        """Let VICTIM be asked for with keys of its own, at an endpoint of its own, where SOUND is not."""
        if "profile" not in self.victim:
            self.victim["profile"] = "victim"
            self._add_keys("victim", "111122223333")
        config = self.directory / "config"
        config.write_text(f"[profile sound]\nendpoint_url = {self.aws.url}\n[profile victim]\nendpoint_url = {url}\n")
        self.of_aws["config_file"] = str(config)
        self.endpoints = {name: self.aws.endpoints[name] for name in ("imds", "registry")}

    def _add_keys(self, profile, account):
        user = self.aws.user(account, profile)
        with self.credentials.open("a") as file:
            file.write(f"[{profile}]\naws_access_key_id = {user.access_key}\n")
            file.write(f"aws_secret_access_key = {user.secret_key}\n")

    def write(self):
        """Write the settings."""
        self.keeper.write_settings(
            [self.victim, *self.registries],
            self.entries,
            aws={
                "endpoints": self.endpoints,
                "credentials_file": str(self.credentials),
                "deadline": "10s",
                **self.of_aws,
            },
            **self.sections,
        )

    def strike_each(self, faults):
        """Let each of *faults* strike a registry of its own, in a region of its own; return these hosts' names."""
        hosts = [f"111122223333.dkr.ecr.{region}.amazonaws.com" for region in _REGIONS[: len(faults)]]
        assert len(hosts) == len(faults)
        for region, fault in zip(_REGIONS, faults, strict=False):
            self.aws.fault(Fault(service="ecr", region=region, **fault))
        self.registries += [{"host": host} for host in hosts]
        self.affects(*hosts)
        return hosts

    def add(self, name, text=None, *, unfit=False, **more):
        """Add a destination in whose file *text* stands; return its path. The fault may touch what goes there."""
        path = self.destinations[name] = self.keeper.destination(name)
        self.labels[name] = str(path)
        self.entries.append({"path": str(path), **more})
        path.parent.mkdir()
        self.foreign[name], self._files[name] = None, set()
        if text is not None:
            self.put(text, name, unfit=unfit)
        self._touch(name)
        return path

    def admit(self, person, **more):
        """Let a user of this machine be a destination, ``theirs``; return the path of the file."""
        path = self.destinations["theirs"] = person.home / ".docker" / "config.json"
        self.labels["theirs"] = f"user:{person.name}"
        if not any(entry.get("user") == person.name for entry in self.entries):
            self.entries.append({"user": person.name, **more})
        self.foreign["theirs"], self._files["theirs"] = _read(path), set()
        self._touch("theirs")
        return path

    def _touch(self, name):
        """Let the fault affect what goes to a destination as well."""
        affected, label = self.affected, self.label(name)
        self.affected = lambda host, at: at == label or affected(host, at)

    def planted(self, name="one"):
        """Take what now stands at a destination for what is not to be changed."""
        self.foreign[name] = _read(self.destinations[name])
        self.unfit.add(name)
        self._files[name].clear()

    def put(self, text, name="one", *, unfit=False):
        """Let *text* be what somebody has in a destination; *unfit*: it is no document, so nothing may change it."""
        text = text if isinstance(text, bytes) else text.encode()
        watched = self._unwatch()
        beside = self.destinations[name].with_suffix(".put")
        beside.write_bytes(text)
        beside.replace(self.destinations[name])
        self.foreign[name] = text
        self.unfit = self.unfit | {name} if unfit else self.unfit - {name}
        self._files[name].clear()
        if watched:
            self._watch()

    # --- what happens

    def start(self, *, prefix=()):
        """Start the daemon."""
        if not self.keeper.config.exists():
            self.write()
        self.hurries += 1
        self.keeper.start(prefix=["sh", "-ec", _ANYWHERE, str(self.directory), *prefix])
        self._unwatch()
        self._watch()
        return self

    def settle(self, *, within=30):
        """Wait until every login is in place."""
        self.until(lambda: self.states() and set(self.states().values()) == {"in_place"}, "every login", within)
        return self

    def until(self, look, what, within=30):
        """Look until there is something to see, and return it."""
        try:
            return until(look, what, within)
        except AssertionError as error:
            said = [f"{error}", f"{self.keeper.document}", *self.log.splitlines()[-40:]]
            raise AssertionError("\n".join(said)) from None

    def refuses(self, code, *words, host=VICTIM):
        """Wait until AWS is told to refuse *host* for *code*, and see that what is said has *words* in it."""
        self.refused.add(host)
        found = self.until(lambda: self._error(host, code), f"{code} of {host}")
        for each in words:
            assert each in f"{found['message']} | {found['hint']}", found
        self.until(lambda: f"code={code}" in self.log, f"{code} in the log")
        return self

    def fails(self, code, *words, destination="one", host=SOUND):
        """Wait until the delivery to a destination is refused for *code*, and see that *words* are said."""
        at = self.label(destination)
        self.hindered.add(at)

        def told():
            return self.state(host, at) == "failed" and self.error(host, at)["code"] == code

        self.until(told, f"{code} at {at}")
        found = self.error(host, at)
        for each in words:
            assert each in f"{found['message']} | {found['hint']}", found
        return self

    def mended(self):
        """Ask at once, now that it is mended, and wait until every login is in place."""
        self.refused.clear()
        self.hindered.clear()
        self.rejected.clear()
        self.hurry()
        return self.settle()

    def tick_often(self):
        """Let the daemon look around every half second, as under a watchdog in a hurry, and not every 30."""
        self.keeper.environment |= {"WATCHDOG_USEC": "1500000", "NOTIFY_SOCKET": str(self.directory / "nobody")}

    def hurry(self):
        """Let everything that was refused be asked for at once, as somebody at a shell would."""
        self.hurries += 1
        self.keeper.process.send_signal(signal.SIGHUP)

    def stop(self, number=signal.SIGTERM, status=0):
        """End the daemon, which must end with *status*."""
        found = self.keeper.stop(number)
        assert found == status, f"{found}: {self.log}"
        self.ends_with = status

    def crash(self):
        """Kill the daemon, and start it again as systemd would."""
        self.keeper.process.kill()
        self.keeper.process.wait()
        self.start()

    # --- what is looked at

    @property
    def log(self):
        return self.keeper.log

    @property
    def pid(self):
        return self.keeper.process.pid

    def label(self, name):
        """Return what status calls a destination."""
        return self.labels.get(name, name)

    def states(self):
        """Return the state of each login by host and destination, nothing before the present daemon has told."""
        document = self.keeper.document
        if document is None or document["pid"] != self.pid:
            return {}
        return {(login["host"], login["destination"]): login["state"] for login in document["logins"]}

    def row(self, host, destination):
        """Return the row of a login."""
        document = self.keeper.document or {"logins": []}
        at = self.label(destination)
        return next((row for row in document["logins"] if (row["host"], row["destination"]) == (host, at)), None)

    def state(self, host, destination):
        """Return the state of a login as the present daemon tells it, None before it does."""
        return self.states().get((host, self.label(destination)))

    def error(self, host, destination):
        """Return what is told to be wrong with a login, its code "" where nothing is."""
        row = self.row(host, destination)
        return (row and row["error"]) or {"code": "", "message": "", "hint": ""}

    def registry(self, host=VICTIM):
        """Return the row of a registry."""
        document = self.keeper.document or {"registries": []}
        return next((row for row in document["registries"] if row["host"] == host), None)

    def _error(self, host, code):
        row = self.registry(host)
        return row["error"] if row and row["error"] and row["error"]["code"] == code else None

    def calls(self, host=VICTIM, **more):
        """Return the calls that asked for a registry's credential."""
        return [call for call in self.aws.calls(service="ecr", **more) if call.region == region_of(host)]

    def password(self, host=VICTIM, name="one"):
        return self.keeper.password(host, name)

    # --- what must hold

    def hold(self):
        """See that every invariant holds, at the latest when what is under way has come to its end."""
        ends_at = time.monotonic() + 30
        while found := broken(self.evidence()):
            if time.monotonic() > ends_at:
                raise AssertionError("\n".join([*found, f"{self.keeper.document}", *self.log.splitlines()[-40:]]))
            time.sleep(0.2)

    def evidence(self):
        """Return what is to be seen at this moment."""
        running = self.keeper.process.poll() is None
        dead = None
        if not running and self.ends_with is None:
            dead = f"it ended with {self.keeper.process.returncode}"
        document, truths = self.keeper.document, self.truths()
        return Evidence(
            destinations={
                name: Destination(
                    self.foreign[name],
                    _read(path),
                    frozenset(self._files[name]),
                    name in self.rewritten,
                    name in self.unfit,
                )
                for name, path in self.destinations.items()
                if name not in self.out_of_reach
            },
            hosts=frozenset({*(host for host, _ in truths), *self.stand_ins}),
            places=self._places(),
            secrets=(*self.aws.secrets(), *self.secrets),
            left_over=tuple(self._left_over()),
            dead=dead,
            unaffected=frozenset(key for key in truths if not self.affected(*key)),
            truths=truths,
            document=document,
            is_telling=running and not self.problem_at_start,
            problem=self.problem,
            calls=tuple(self.aws.calls()),
            hurries=self.hurries,
        )

    problem_at_start = False

    def truths(self):
        """Return how every login that the settings ask for really is."""
        hosts = [self.victim["host"], *(each["host"] for each in self.registries)]
        return {(host, self.label(at)): self._truth(host, at) for host in hosts for at in self._labels()}

    def _labels(self):
        return [entry["path"] if "path" in entry else f"user:{entry['user']}" for entry in self.entries]

    def _truth(self, host, at):
        return Truth(
            held=self._held(host),
            stands=self._stands(host, at),
            refused=host in self.refused,
            hindered=at in self.hindered,
            shadowed=(host, at) in self.shadowed or at in self.shadowed,
            user=at not in self.absent,
        )

    def _held(self, host):
        if host in self.rejected:
            return Held.REJECTED
        region = region_of(host)
        given = [call for call in self.aws.calls(action="GetAuthorizationToken") if call.region == region]
        whole = (None, "latency", *(["rewrite"] if host in self.given_though_altered else []))
        if not [call for call in given if call.status == 200 and call.fault in whole]:
            return Held.NONE
        newest = self.aws.passwords(region)[-1]
        return Held.GOOD if newest.expires_at > time.time() + self.aws.world.clock_skew else Held.ENDED

    def _stands(self, host, at):
        name = next(name for name, label in self.labels.items() if label == at)
        text = b"{}" if name in self.out_of_reach else _read(self.destinations[name]) or b"{}"
        try:
            document = json.loads(text)
            login = document.get("auths", {}).get(host)
        except (ValueError, AttributeError, RecursionError):  # no document
            return Stands.NOTHING
        if document.get("credHelpers", {}).get(host) == "ecrlogind":
            return Stands.OURS
        if login is None:
            return Stands.NOTHING
        try:
            user, _, password = base64.b64decode(login["auth"], validate=True).decode().partition(":")
        except (ValueError, KeyError, TypeError):
            return Stands.GARBLED
        if user != "AWS" or password not in {each.value for each in self.aws.passwords()}:
            return Stands.THEIRS
        return Stands.OURS if accepts(host, password, self.aws.world) else Stands.OURS_ENDED

    def _places(self):
        return {
            "the log": self.log.encode(),
            "the status": b"\0".join(self._seen),
            "arguments and environments": b"\0".join(
                {*self._of_processes, *(self._sampler.seen if self._sampler else ())}
            ),
            "what commands said": "\0".join(self._said).encode(),
            "files": b"\0".join(_read(path) or b"" for path in self._files_around()),
        }

    def run(self, command, *arguments, **more):
        """Run another command to its end."""
        done = self.keeper.run(command, *arguments, **more)
        self._said += [done.stdout, done.stderr]
        return done

    def _files_around(self):
        """Yield all files that the daemon may have written, but those that are there for secrets."""
        meant = (self.directory / "aws", self.keeper.state / "credentials", self.keeper.state / "answers")
        known = {self.credentials, self.keeper.config, *self.destinations.values(), *self.others}
        for path in self._all_files():
            is_meant = path in known or any(path.is_relative_to(each) for each in meant)
            if not is_meant and path.is_file() and not path.is_symlink():
                yield path

    def _all_files(self):
        beyond = {self.destinations[name].parent for name in self.out_of_reach}
        for top in {self.directory, *(path.parent for path in self.destinations.values())} - beyond:
            for place, inside, names in os.walk(top):
                inside[:] = [each for each in inside if Path(place, each) not in beyond]
                yield from (Path(place, each) for each in names)

    def _left_over(self):
        yield from map(str, self.temporary.iterdir())
        yield from (str(path) for path in self._all_files() if path.name.startswith("core"))

    # --- the sampler's questions

    def _take(self):
        """Look at what others read meanwhile: the status, and the files."""
        if text := _read(self.keeper.state / "status.json"):
            self._seen.add(text)
        for name, path in list(self.destinations.items()):
            if name not in self.out_of_reach | self.rewritten and (text := _read(path)) is not None:
                self._files[name].add(text)
        return ()

    def _watch(self):
        self._sampler = Sampler(self.pid, self._take, every=_SAMPLED_EVERY)
        self._sampler.__enter__()

    def _unwatch(self):
        watched, self._sampler = self._sampler, None
        if watched is not None:
            watched.__exit__()
            self._of_processes |= watched.seen
        return watched is not None

    def end(self):
        self.keeper.end()
        self._unwatch()
        self.opened.close()


def region_of(host):
    """Return the region of a registry's host."""
    return _REGION.search(host)[0]


def _read(path):
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            return file.read(1 << 20)
    except OSError:
        return None
