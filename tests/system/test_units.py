import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.need import need

UNITS = Path(__file__).parents[2] / "systemd"
SHIPPED = (
    "ecrlogind.service",
    "ecrlogind-issuer.socket",
    "ecrlogind-issuer@.service",
    "ecrlogind-docker-login@.socket",
    "ecrlogind-docker-login@.service",
    "runner.conf",
)

YES_NO = "yes|no"
SPAN = r"\d+(s|min)|0"
PATHS = r"(-?/\S+( |$))+"
UNITS_NAMED = r"(\S+\.(service|socket|target)( |$))+"
FAMILIES = r"(AF_(UNIX|INET|INET6)( |$))+"
# Groups and calls that 249 knows; it would ignore one that it does not.
CALLS = r"~?((@(system-service|privileged|resources|setuid)|capset|fchown)( |$))+"

# What systemd 249 takes for each key that we use (the manual pages say since when). A newer key it ignores; for a newer
# value it takes the default, which for Type= means that the gate stands open. What is not in here is not to be shipped.
KNOWN_TO_249 = {
    "Unit": {
        "Description": ".+",
        "Wants": UNITS_NAMED,
        "After": UNITS_NAMED,
        "Before": UNITS_NAMED,
        "StartLimitIntervalSec": SPAN,
        "ConditionPathExists": r"!?/\S+",
        "CollectMode": "inactive|inactive-or-failed",
    },
    "Install": {"WantedBy": UNITS_NAMED, "Also": UNITS_NAMED},
    "Socket": {
        "ListenStream": r"/\S+",
        "DirectoryMode": r"0[0-7]{3}",
        "SocketMode": r"0[0-7]{3}",
        "Accept": YES_NO,
        "MaxConnections": r"\d+",
        "RemoveOnStop": YES_NO,
        "TriggerLimitIntervalSec": SPAN,
    },
    "Service": {
        "Type": "simple|exec|forking|oneshot|dbus|notify|idle",
        "NotifyAccess": "none|main|exec|all",
        "ExecStart": r"/.+",
        "ExecReload": r"/.+",
        "TimeoutStartSec": SPAN,
        "TimeoutStopSec": SPAN,
        "RuntimeMaxSec": SPAN,
        "WatchdogSec": SPAN,
        "Restart": "no|on-success|on-failure|on-abnormal|on-abort|on-watchdog|always",
        "RestartSec": SPAN,
        "RestartPreventExitStatus": r"\d+( \d+)*",
        "OOMPolicy": "continue|stop|kill",
        "KillMode": "control-group|mixed|process|none",
        "RuntimeDirectory": r"\w+",
        "RuntimeDirectoryMode": r"0[0-7]{3}",
        "RuntimeDirectoryPreserve": "yes|no|restart",
        "UMask": r"0[0-7]{3}",
        "User": r"[a-z]+|%i",
        "Group": r"[a-z]+",
        "StandardInput": "null|socket",
        "StandardOutput": "null|socket|journal|inherit",
        "StandardError": "null|journal|inherit",
        "LogLevelMax": "emerg|alert|crit|err|warning|notice|info|debug",
        "MemoryMax": r"\d+[KMG]",
        "MemorySwapMax": r"\d+",
        "TasksMax": r"\d+",
        "LimitCORE": r"\d+",
        "CapabilityBoundingSet": r"(CAP_(SETUID|SETGID|KILL)( |$))*",
        "RestrictAddressFamilies": FAMILIES,
        "IPAddressDeny": "any",
        "ReadWritePaths": PATHS,
        "ReadOnlyPaths": PATHS,
        "InaccessiblePaths": PATHS,
        "TemporaryFileSystem": PATHS,
        "ProtectSystem": "yes|no|full|strict",
        "ProtectHome": "yes|no|read-only|tmpfs",
        "ProtectProc": "noaccess|invisible|ptraceable|default",
        "ProcSubset": "all|pid",
        "KeyringMode": "inherit|private|shared",
        "SystemCallFilter": CALLS,
        "SystemCallArchitectures": "native",
        "SystemCallErrorNumber": "EPERM",
        **dict.fromkeys(
            (
                *("NoNewPrivileges", "PrivateDevices", "PrivateIPC", "PrivateMounts", "PrivateNetwork", "PrivateTmp"),
                *("PrivateUsers", "ProtectClock", "ProtectControlGroups", "ProtectHostname", "ProtectKernelLogs"),
                *("ProtectKernelModules", "ProtectKernelTunables", "LockPersonality", "MemoryDenyWriteExecute"),
                *("RemoveIPC", "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID"),
            ),
            YES_NO,
        ),
    },
}


def settings(unit):
    section = None
    for line in (UNITS / unit).read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            yield section, key, value


@pytest.mark.parametrize("unit", SHIPPED)
def test_nothing_in_the_units_is_newer_than_systemd_249(unit):
    for section, key, value in settings(unit):
        assert re.fullmatch(KNOWN_TO_249[section][key], value), f"{unit}: {key}={value}"


@pytest.mark.parametrize(
    ("unit", "most"),
    [("ecrlogind.service", 1.5), ("ecrlogind-issuer@.service", 1.1), ("ecrlogind-docker-login@.service", 1.8)],
)
def test_the_exposure_that_systemd_sees_stays_low(unit, most):
    need(shutil.which("systemd-analyze"), "systemd-analyze")
    command = ["systemd-analyze", "security", "--no-pager", "--offline=true", UNITS / unit]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    [exposure] = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", said)

    assert float(exposure) <= most, said


def test_the_keeper_waits_for_no_network_and_is_ordered_after_nothing_that_comes_after_it():
    after = [value for _, key, value in settings("ecrlogind.service") if key == "After"]

    assert after == ["ecrlogind-issuer.socket docker.socket"]


@pytest.mark.system
def test_systemd_has_nothing_to_say_about_the_units_as_installed(machines):
    machine = machines.make()
    machine.write(
        "/etc/systemd/system/actions.runner.org-.service.d/ecrlogind.conf", (UNITS / "runner.conf").read_text()
    )
    runner = "actions.runner.org-repo.host1.service"
    machine.write(f"/etc/systemd/system/{runner}", "[Service]\nExecStart=/bin/true\n")
    machine.boot()
    said = machine.run(["systemd-analyze", "verify", *(unit for unit in SHIPPED if unit != "runner.conf"), runner])

    assert said.stdout + said.stderr == ""
    assert "ecrlogind.service" in machine.settings_of(runner, "After")["After"].split()
    assert "ecrlogind.service" in machine.settings_of(runner, "Wants")["Wants"].split()


# As the packages have them: on Debian and Ubuntu cloud-final.service comes after multi-user.target, elsewhere not.
CLOUD_INIT = {
    "cloud-init-local.service": "DefaultDependencies=no\nBefore=network-pre.target",
    "cloud-init.service": "DefaultDependencies=no\nAfter=cloud-init-local.service\n"
    "Before=network-online.target sysinit.target",
    "cloud-config.service": "After=network-online.target cloud-config.target\nWants=network-online.target",
    "cloud-final.service": "After=network-online.target cloud-config.service\nBefore=cloud-init.target",
}


@pytest.mark.system
@pytest.mark.parametrize("distribution", ["debian", "amazon"])
def test_there_is_no_ordering_cycle_with_cloud_init(machines, distribution):
    machine = machines.make()
    for unit, lines in CLOUD_INIT.items():
        extra = "After=multi-user.target\n" if (distribution, unit) == ("debian", "cloud-final.service") else ""
        text = f"[Unit]\n{lines}\n{extra}[Service]\nType=oneshot\nExecStart=/bin/true\nRemainAfterExit=yes\n"
        machine.write(f"/etc/systemd/system/{unit}", f"{text}[Install]\nWantedBy=cloud-init.target\n")
    target = "[Unit]\nAfter=multi-user.target\n[Install]\nWantedBy=multi-user.target\n"
    machine.write(
        "/etc/systemd/system/cloud-init.target",
        target if distribution == "debian" else "[Install]\nWantedBy=multi-user.target\n",
    )
    # Here only the order counts: a keeper that is ready at once.
    machine.write(
        "/etc/systemd/system/ecrlogind.service.d/ready.conf",
        "[Service]\nType=oneshot\nExecStart=\nExecStart=/bin/true\nRemainAfterExit=yes\nRestart=no\n",
    )
    machine.boot()
    machine.run(["systemctl", "enable", "ecrlogind.service", "cloud-init.target", *CLOUD_INIT])
    machine.reboot()
    machine.run("systemctl is-system-running --wait")

    assert "cycle" not in machine.journal("--boot")
    times = {
        unit: int(machine.settings_of(unit, "ActiveEnterTimestampMonotonic")["ActiveEnterTimestampMonotonic"])
        for unit in ("ecrlogind.service", "cloud-final.service")
    }
    assert 0 < times["ecrlogind.service"] <= times["cloud-final.service"]
