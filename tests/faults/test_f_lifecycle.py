"""F: the life of a host, and input that means harm."""

import json
import os
import shutil
import signal
import subprocess
from urllib.parse import quote

import pytest

from standin import Fault
from tests.support.need import need
from tests.support.rows import row
from tests.support.story import IN_EU, SOUND, VICTIM


@row(
    "F-1",
    provoked="an image cloned from a running host: its files hold logins, its state holds credentials of another boot",
    holds="nothing of another boot is believed: all is asked for anew, and what stands there is replaced",
    instead="The other boot is another boot id; tests/packer bakes real images, and their scrub leaves no login.",
)
def test_f1_a_cloned_image(story):
    need(os.geteuid() == 0 and shutil.which("unshare"), "root and unshare, for another boot id")
    story.affects(VICTIM, SOUND)
    other = story.directory / "boot-id"
    other.write_text("00000000-1111-2222-3333-444444444444\n")
    bind = f"mount --bind {other} /proc/sys/kernel/random/boot_id"
    story.start(prefix=["unshare", "--mount", "sh", "-ec", f'{bind}; exec "$@"', "sh"]).settle()
    story.stop()
    story.ends_with = None
    stale = {host: story.password(host) for host in (VICTIM, SOUND)}
    story.aws.revoke()
    asked = len(story.aws.calls(service="ecr"))

    story.start().settle()

    assert len(story.aws.calls(service="ecr")) == asked + 2
    assert all(story.password(host) != password for host, password in stale.items())


@row(
    "F-2",
    provoked="the instance is taken away with two minutes' notice: systemd stops the daemon, `[stop] logout` is set",
    holds="our logins, answers and held credentials are gone, others' stay; without that setting nothing need be done",
    instead="A stop is a stop, whoever asks; a hibernation is C3.",
)
def test_f2_a_spot_instance_that_goes(story):
    story.affects(VICTIM, SOUND)
    story.sections["stop"] = {"logout": True}
    story.start().settle()
    story.stop()
    for name in ("one", "two"):
        assert set(story.keeper.auths(name)) == {"quay.io"}
    kept = [path for place in ("credentials", "answers") for path in (story.keeper.state / place).rglob("*")]
    assert [path for path in kept if path.is_file()] == []


HOSTILE = {
    'registries = ["../../etc/passwd"]': "registries",
    'registries = ["evil.example\\n.dkr.ecr.eu-west-1.amazonaws.com"]': "registries",
    'registries = ["user:x@111122223333.dkr.ecr.eu-west-1.amazonaws.com"]': "registries",
    'registries = ["111122223333.dkr.ecr.eu-west-1.amazonaws.com\\u0000"]': "registries",
    'registries = ["self"]\ndestinations = [{ path = "../config.json" }]': "path",
    'registries = ["self"]\ndestinations = [{ user = "root\\n" }]': "user",
    'registries = ["self"]\ndestinations = [{ user = "../root" }]': "user",
    'registries = ["self"]\nregisteries = []': "registeries",
    'registries = ["self"]\n[aws]\nendpoints = { ecr = "file:///etc/shadow" }': "endpoints",
}


@row(
    "F-3",
    provoked="settings with `../`, a NUL, a newline, user info in a host, unknown keys; a file that others may write",
    holds="refused by file and key, exit 78; a daemon that runs keeps what it has; no word of it forges a line",
)
def test_f3_hostile_settings(story):
    story.start().settle()
    right = story.keeper.config.read_text()
    for text, key in HOSTILE.items():
        story.keeper.config.write_text(text + "\n")
        done = story.run("check")
        assert (done.returncode, key in done.stderr) == (78, True), (text, done.stderr)
        assert all(line.isprintable() for line in done.stderr.splitlines())
    story.keeper.config.write_text(right)
    story.keeper.config.chmod(0o666)
    assert story.run("check").returncode == 78
    story.hurry()
    story.until(lambda: story.keeper.document["problem"], "the problem")
    story.problem = True
    story.hold()
    story.keeper.config.chmod(0o600)
    story.problem = False
    story.mended()


@row(
    "F-4",
    provoked="an endpoint of the settings that is not AWS's: plain HTTP to another host, or no URL",
    holds="refused with the key's name; plain HTTP is for loopback alone; a running daemon keeps what it has",
)
def test_f4_an_endpoint_of_somebody_s(story):
    story.start().settle()
    for url in ("http://10.9.9.9/", "ecr.example", "ftp://127.0.0.1/", "https://"):
        story.endpoints = dict(story.aws.endpoints) | {"ecr": url}
        story.write()
        done = story.run("check")
        assert (done.returncode, "endpoints" in done.stderr) == (78, True), (url, done.stderr)
    story.hurry()
    story.until(lambda: story.keeper.document["problem"], "the problem")
    story.problem = True


@row(
    "F-5",
    provoked="an endpoint that means harm: a header of 1 MB, a gzip bomb, a redirect to IMDS, JSON nested 100,000 deep",
    holds="each is refused within the issuer's limits; no request follows the redirect",
)
def test_f5_a_hostile_endpoint(story):
    deep = "[" * 100_000 + "]" * 100_000
    hosts = story.strike_each(
        [
            {"headers": {"X-Large": "a" * 1_000_000}},
            {"behaviour": "gzip_bomb", "size": 50_000_000},
            {"behaviour": "redirect", "location": f"{story.aws.url}/latest/meta-data/iam/security-credentials/"},
            {"body": deep},
        ]
    )
    story.start()
    for host in hosts:
        story.refuses("malformed_answer", host=host)
    roles = [call for call in story.aws.calls(service="imds", action="role") if call.method == "GET"]
    assert len(roles) <= 1 + max(story.registry(host)["failures"] for host in hosts)
    assert [call.status for call in story.aws.calls(service="imds")].count(401) == 0
    story.aws.lift_faults()
    story.mended()


KILLER = """
import ctypes, os
libc = ctypes.CDLL(None)
print(flush=True)
while True:
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            courier = b"ecrlogind.courier" in open(f"/proc/{pid}/cmdline", "rb").read()
            if (courier or os.stat("/proc/" + pid).st_uid == os.getuid()) and int(pid) != os.getpid():
                libc.ptrace(16, int(pid), 0, 0)
                os.kill(int(pid), 9)
                print("killed", flush=True)
        except OSError:
            pass
"""


@row(
    "F-6",
    provoked="a user kills, and tries to trace, every courier that comes as that user",
    holds="that user's file alone is failed; the daemon and everybody else's logins go on; logged in once it stops",
)
def test_f6_a_user_who_kills_couriers(story, user):
    path = story.admit(user)
    story.affects(destination="theirs")
    killer = subprocess.Popen(
        ["setpriv", f"--reuid={user.uid}", f"--regid={user.uid}", "--clear-groups", "/usr/bin/python3", "-Ic", KILLER],
        stdout=subprocess.PIPE,
        cwd="/",
    )
    try:
        killer.stdout.readline()
        story.start()
        story.until(lambda: {story.state(SOUND, name) for name in ("one", "two")} == {"in_place"}, "the others")
        story.until(lambda: story.error(SOUND, "theirs")["code"] or path.exists(), "what comes of it")
        # Some get through: the user's own file is theirs to keep from us, or not.
        assert killer.stdout.readline() == b"killed\n"
    finally:
        killer.kill()
        killer.communicate()
    story.settle(within=60)


@row(
    "F-7",
    provoked="a user fills .docker with 5,000 names like a courier's own, and replaces the directory meanwhile",
    holds="no courier looks at more than a thousand, none is late; the login stands where the directory is now",
)
def test_f7_a_directory_of_many_names(story, user):
    path = story.admit(user)
    many = "mkdir .docker; cd .docker; seq -f '.ecrlogind.%.0f' 5000 | xargs touch"
    done = user.run("sh", "-ec", many, cwd=user.home)
    assert done.returncode == 0, done.stderr
    story.start().settle()
    assert len(os.listdir(path.parent)) == 5_001

    done = user.run("sh", "-ec", "mv .docker away; mkdir .docker; rm -r away", cwd=user.home)
    assert done.returncode == 0, done.stderr

    story.until(lambda: path.exists() and SOUND in path.read_text(), "the login in the new directory")
    story.settle()


@row(
    "F-8",
    provoked="AWS's words hold terminal escapes, newlines, a forged line of ours, 100,000 characters",
    holds="what is told is one printable line of ASCII, cut short",
)
def test_f8_words_that_forge_a_line(story):
    forged = '\n<6>login.delivered "Login Succeeded: evil.example"\r\x1b[2J\x1b]0;evil\x07\u202e\x00' + "x " * 50_000
    struck = story.aws.fault(Fault(**IN_EU, error="AccessDeniedException", status=400, message=forged))
    story.start().refuses("access_denied")
    struck.lift()
    story.mended()
    for line in story.log.splitlines():
        assert line[:1] == "<"
        assert line.isascii()
        assert line.isprintable()
        assert len(line) < 4096
    assert not [line for line in story.log.splitlines() if "evil" in line and line.startswith("<6>")]
    status = json.loads((story.keeper.state / "status.json").read_text())
    assert "\x1b" not in json.dumps(status, ensure_ascii=False)


@row(
    "F-9",
    provoked="AWS quotes our tokens and passwords in refusals and nonsense; the daemon is asked for all that it tells, "
    "and is aborted",
    holds="nothing secret is to be seen: the invariants look at log, status, arguments, environments, files, cores and "
    "what commands print (tests/process/test_secrets.py follows every program by strace)",
)
@pytest.mark.parametrize("fault", ["refusal", "nonsense", "page"])
def test_f9_no_secret_anywhere(story, fault):
    story.start().settle()
    password = story.password()
    token = next(each.token for each in story.aws.world.identities.all() if each.token)
    quoted = " ".join([token, quote(token, safe=""), password, *story.aws.secrets()[:4]])
    story.aws.revoke(region="eu-west-1")
    faults = {
        "refusal": {"error": "InvalidSignatureException", "status": 403, "message": f"No.\n'{quoted}'"},
        "nonsense": {"body": '{"authorizationData": "' + quoted},
        "page": {"body": f"<html>{quoted}</html>"},
    }
    more = "111122223333.dkr.ecr.ap-east-1.amazonaws.com"
    story.registries.append({"host": more})
    story.affects(VICTIM, more)
    with story.aws.fault(Fault(service="ecr", region="ap-east-1", **faults[fault])):
        story.write()
        story.hurry()
        story.until(lambda: (story.registry(more) or {}).get("failures"), "the refusal")
        for command in (("status",), ("status", "--json"), ("check", "--print"), ("login",)):
            story.hurries += 1
            story.run(*command)
    story.aws.lift_faults()
    story.keeper.process.send_signal(signal.SIGABRT)
    story.keeper.process.wait(30)
    assert "Fatal Python error" in story.log
    shutil.rmtree(story.keeper.state / "credentials")  # of what it holds, some was revoked above
    story.start().settle()
