"""A row as a story: the real daemon with four logins, something that goes wrong, and a look at all that must hold.

The standing set is two registries at two destinations. VICTIM is asked for as the instance, in one region; SOUND with
keys of its own, in another. ``one`` and ``two`` hold somebody else's logins already. What a story's fault affects it
says by `affects`; everything else must be in place at the end.
"""

import base64
import signal
from contextlib import ExitStack
from pathlib import Path

import ecrlogind
from standin import Fault
from tests.support.keeper import until
from tests.support.witness import Witness, read, region_of

VICTIM = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
SOUND = "444455556666.dkr.ecr.us-east-1.amazonaws.com"
IN_EU = {"service": "ecr", "region": "eu-west-1"}

FOREIGN_PASSWORD = "SomebodyElsesPasswordAtQuay0123456789"
FOREIGN = (
    '{\n  "HttpHeaders" : {"X-Meta":"a\\u0062"}, "n": 12345678901234567890,\n'
    '  "auths": {"quay.io": {"auth": "' + base64.b64encode(f"me:{FOREIGN_PASSWORD}".encode()).decode() + '" }},\n'
    '    "detachKeys":"ctrl-e,e",  "x": 1e400,\n\t"credHelpers": {"gcr.io": "gcloud"}\n}\n\n'
).encode()

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


class Story(Witness):
    """One host whose daemon something happens to."""

    def __init__(self, directory, aws):
        super().__init__(directory, aws)
        self.keeper.environment |= {
            "TMPDIR": str(self.temporary),
            "PYTHONPATH": str(Path(ecrlogind.__file__).parents[1]),
        }
        self._add_keys("sound", "444455556666")
        for name in ("one", "two"):
            path = self.destinations[name] = self.keeper.destination(name)
            self.labels[name] = str(path)
            self.foreign[name], self._files[name] = FOREIGN, set()
            path.parent.mkdir()
            path.write_bytes(FOREIGN)
        self.secrets.append(FOREIGN_PASSWORD)
        self.endpoints, self.of_aws, self.sections = dict(aws.endpoints), {}, {}
        self.victim = {"host": VICTIM}
        self.registries = [{"host": SOUND, "profile": "sound"}]
        self.entries = [{"path": str(path)} for path in self.destinations.values()]
        self.opened = ExitStack()
        self.affects(VICTIM)

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
        self.touches(name)
        return path

    def expect(self, name):
        """Let a user be a destination, ``theirs``, whether there is such a user or not yet."""
        self.labels["theirs"] = f"user:{name}"
        if {"user": name} not in self.entries:
            self.entries.append({"user": name})
        self.touches("theirs")

    def admit(self, person):
        """Let a user of this machine be a destination, ``theirs``; return the path of the file."""
        self.expect(person.name)
        path = self.destinations["theirs"] = person.home / ".docker" / "config.json"
        self.foreign["theirs"], self._files["theirs"] = read(path), set()
        return path

    def touches(self, name):
        """Let the fault affect what goes to a destination as well."""
        affected, label = self.affected, self.label(name)
        self.affected = lambda host, at: at == label or affected(host, at)

    def planted(self, name="one"):
        """Take what now stands at a destination for what is not to be changed."""
        self.foreign[name] = read(self.destinations[name])
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

    def run(self, command, *arguments, **more):
        """Run another command to its end."""
        done = self.keeper.run(command, *arguments, **more)
        self.said += [done.stdout, done.stderr]
        return done

    def end(self):
        self.keeper.end()
        self._unwatch()
        self.opened.close()
