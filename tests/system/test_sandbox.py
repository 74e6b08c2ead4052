"""What can be done from inside the units, tried there: a probe runs in place of the keeper, and of the issuer."""

import json
from pathlib import Path

import pytest

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("sandbox")]  # one machine serves them all

PROBE = Path(__file__).with_name("probe.py")

NO_ONE_S = {
    "our code": "/opt/ecrlogind/lib",
    "our program": "/opt/ecrlogind/bin/ecrlogind",
    "units": "/etc/systemd/system",
    "units of packages": "/usr/lib/systemd/system",
    "units until the next boot": "/run/systemd/system",
    "what others keep until then": "/run",
    "our settings": "/etc/ecrlogind",
    "root's keys": "/root/.ssh",
    "root's shell": "/root/.bashrc",
    "packages": "/var/lib/dpkg",
    "state of systemd": "/var/lib/systemd",
    "cron": "/var/spool/cron",
    "passwords": "/etc/shadow",
    "kernel": "/proc/sys/kernel/core_pattern",
    "cgroups": "/sys/fs/cgroup/unified",
}
SOCKETS = {
    "PID 1": "/run/systemd/private",
    "D-Bus": "/run/dbus/system_bus_socket",
    "dockerd": "/run/docker.sock",
    "containerd, which starts after us": "/run/containerd/containerd.sock",
    "podman": "/run/podman/podman.sock",
    "PID 1, by /proc": "/proc/1/root/run/systemd/private",
}
# Where users' homes are: the path of a directory in one, and its user. Root's own is a courier's that is root.
HOMES = {
    "/home/ann/.docker": 2001,
    "/var/lib/gitlab-runner/.docker": 2002,
    "/opt/actions-runner/.docker": 2003,
    "/srv/builder/.docker": 2004,
    "/root/.docker": 0,
}
OURS = ("/run/ecrlogind",)
ENGINES = {
    "docker": "/run/docker.sock",
    "podman": "/run/podman/podman.sock",
    "containerd": "/run/containerd/containerd.sock",
}
KILL_SETGID_SETUID = f"{1 << 5 | 1 << 6 | 1 << 7:016x}"
FAMILIES = ("AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET")


# Ready first, so that there is a time after the start in which the test can bring things into being.
KEEPER_S_PLACE = """
[Service]
NotifyAccess=all
WatchdogSec=0
Restart=no
ExecStart=
ExecStart=/bin/sh -c 'systemd-notify --ready; while [ ! -e /run/ecrlogind/go ]; do sleep 0.02; done; \
exec /opt/ecrlogind/bin/python -I /usr/local/lib/probe.py > /run/ecrlogind/found.json'
"""
ISSUER_S_PLACE = """
[Service]
ExecStart=
ExecStart=/opt/ecrlogind/bin/python -I /usr/local/lib/probe.py
"""
ASK = """
import socket
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect("/run/ecrlogind-issuer.sock")
    print(connection.makefile().read())
"""


@pytest.fixture(scope="module")
def machine(machines_of_module):
    machine = machines_of_module.make()
    asked = {
        "families": FAMILIES,
        "writes": [*NO_ONE_S.values(), *OURS],
        "connects": [*SOCKETS.values()],
        "as_user": HOMES,
    }
    machine.write("/usr/local/lib/probe.py", PROBE.read_text())
    machine.write("/usr/local/share/probe.json", json.dumps(asked))
    machine.write("/etc/systemd/system/ecrlogind.service.d/50-probe.conf", KEEPER_S_PLACE)
    machine.write("/etc/systemd/system/ecrlogind-issuer@.service.d/50-probe.conf", ISSUER_S_PLACE)
    for name, path in ENGINES.items():
        socket_unit = f"[Socket]\nListenStream={path}\nSocketMode=0660\nAccept=yes\nRemoveOnStop=yes\n"
        machine.write(f"/etc/systemd/system/{name}.socket", socket_unit)
        machine.write(f"/etc/systemd/system/{name}@.service", "[Service]\nExecStart=/bin/true\n")
    machine.boot()
    machine.run("mkdir -p /etc/ecrlogind /var/spool/cron /root/.ssh")
    for path, uid in HOMES.items():
        home = str(Path(path).parent)
        if uid:
            machine.run(f"useradd --uid {uid} --no-create-home --home-dir {home} u{uid}")
        machine.run(f"mkdir -p {path}; chown {uid}:{uid} {home} {path}; chmod 0700 {path}")
    machine.run("ip link add there type veth peer name here")
    machine.run("systemctl is-system-running --wait; systemctl start dbus.socket docker.socket podman.socket")
    return machine


def keeper_s(machine, *instead):
    """Run the probe in the keeper's unit, with the lines *instead* added to it; return what it found."""
    rewrite(machine, "ecrlogind.service", instead)
    machine.run("systemctl stop containerd.socket; rm -rf /run/containerd /run/ecrlogind/go /run/ecrlogind/found.json")
    machine.run("systemctl start ecrlogind && systemctl start containerd.socket && touch /run/ecrlogind/go")
    state = machine.wait_for("systemctl show -P ActiveState ecrlogind | grep -xE 'inactive|failed'")
    assert state == "inactive\n", machine.journal("--unit", "ecrlogind")
    return json.loads(machine.read("/run/ecrlogind/found.json"))


def issuer_s(machine, *instead):
    """Do the same in the issuer's unit, whose answer comes by its connection."""
    rewrite(machine, "ecrlogind-issuer@.service", instead)
    machine.run("systemctl start ecrlogind-issuer.socket")
    return json.loads(machine.output(["python3", "-c", ASK]))


def rewrite(machine, unit, instead):
    machine.write(f"/etc/systemd/system/{unit}.d/90-instead.conf", "\n".join(["[Service]", *instead, ""]))
    machine.run("systemctl daemon-reload")


def test_the_keeper_has_no_network_and_no_way_to_one(machine):
    found = keeper_s(machine)

    assert found["interfaces"] == ["lo"]
    assert found["network"] != machine.output("readlink /proc/1/ns/net")
    assert found["families"] == {name: "ok" if name == "AF_UNIX" else "EAFNOSUPPORT" for name in FAMILIES}


def test_the_keeper_is_root_by_three_capabilities_and_gains_none(machine):
    found = keeper_s(machine)

    assert (found["uid"], found["capabilities"], found["bounding"]) == (0, KILL_SETGID_SETUID, KILL_SETGID_SETUID)
    assert found["no_new_privileges"] == "1"
    assert (found["mounts"], found["unshares"], found["maps_code"]) == ("EPERM", "EPERM", "EPERM")
    assert found["core"] == [0, 0]


def test_the_keeper_changes_nothing_that_root_runs_or_believes(machine):
    found = keeper_s(machine)["writes"]

    assert {what: found[path] for what, path in NO_ONE_S.items() if found[path] not in ("EROFS", "EACCES")} == {}
    assert {path: found[path] for path in OURS} == dict.fromkeys(OURS, "ok")


def test_the_keeper_reaches_no_socket_by_which_it_could_become_all_of_root_again(machine):
    found = keeper_s(machine)["connects"]

    assert {what: found[path] for what, path in SOCKETS.items() if found[path] == "ok"} == {}


def test_a_courier_writes_in_its_user_s_home_and_has_no_capability(machine):
    found = keeper_s(machine)["as_user"]

    no_capability = "0000000000000000"
    assert {path: (came, rights) for path, (came, rights) in found.items() if HOMES[path]} == {
        path: ("ok", no_capability) for path, uid in HOMES.items() if uid
    }
    assert found["/root/.docker"][0] == "ok"


def test_the_issuer_has_the_network_and_no_right_at_all(machine):
    found = issuer_s(machine)

    assert found["uid"] == int(machine.output("id -u ecrlogind"))
    assert (found["capabilities"], found["bounding"]) == ("0" * 16, "0" * 16)
    assert found["no_new_privileges"] == "1"
    assert found["network"] == machine.output("readlink /proc/1/ns/net")
    assert (found["families"]["AF_INET"], found["families"]["AF_INET6"]) == ("ok", "ok")
    assert (found["families"]["AF_PACKET"], found["families"]["AF_NETLINK"]) == ("EAFNOSUPPORT", "EAFNOSUPPORT")
    assert {path for path, came in found["writes"].items() if came == "ok"} == set()
    assert {path for path, came in found["connects"].items() if came == "ok"} == set()
    assert (found["mounts"], found["unshares"], found["maps_code"]) == ("EPERM", "EPERM", "EPERM")
    assert found["core"] == [0, 0]


@pytest.mark.parametrize(
    ("whose", "instead", "sees"),
    [
        (keeper_s, ("PrivateNetwork=no",), lambda found: "here" in found["interfaces"]),
        (keeper_s, ("RestrictAddressFamilies=",), lambda found: found["families"]["AF_INET"] == "ok"),
        (keeper_s, ("CapabilityBoundingSet=~",), lambda found: found["capabilities"] != KILL_SETGID_SETUID),
        (keeper_s, ("ProtectSystem=no",), lambda found: found["writes"]["/etc/systemd/system"] == "ok"),
        (keeper_s, ("ReadOnlyPaths=",), lambda found: found["writes"]["/opt/ecrlogind/lib"] == "ok"),
        (
            keeper_s,
            ("ReadOnlyPaths=", "ReadOnlyPaths=/opt"),
            lambda found: found["writes"]["/run/systemd/system"] == "ok",
        ),
        (keeper_s, ("InaccessiblePaths=",), lambda found: found["connects"]["/run/systemd/private"] == "ok"),
        (keeper_s, ("TemporaryFileSystem=",), lambda found: found["connects"][ENGINES["containerd"]] == "ok"),
        (keeper_s, ("LimitCORE=infinity",), lambda found: found["core"] != [0, 0]),
        (keeper_s, ("MemoryDenyWriteExecute=no",), lambda found: found["maps_code"] == "ok"),
        (issuer_s, ("User=root", "Group=root"), lambda found: found["uid"] == 0),
        (issuer_s, ("LimitCORE=infinity",), lambda found: found["core"] != [0, 0]),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_each_protection_is_seen_to_be_gone_when_its_line_is(machine, whose, instead, sees):
    assert sees(whose(machine, *instead))
