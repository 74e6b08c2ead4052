"""The textfile that node_exporter takes up: parsed by the client library's own parser."""

import json
import os
import stat
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from ecrlogind.core.metrics import Counters, metrics
from ecrlogind.keeper.metrics import text, write
from tests.support.need import need
from tests.support.world import World

PROMTOOL = Path("/usr/local/lib/ecrlogind-tests/promtool")  # tests/support/prepare.sh
HOST = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
ROOT = Path(__file__).parents[2]
ORDER = ("registry", "code", "state", "version")


@pytest.fixture
def found():
    world = World(registries=[HOST], destinations=[{"user": "ci"}])
    world.ecr.refuse("throttled")
    world.settle()
    counters = Counters().after(world.document)
    world.ecr.relent()
    world.live(minutes=10)
    return list(metrics(world.document, counters.after(world.document), timedelta(seconds=0.25), "1.2.3"))


def samples(content):
    return {
        (sample.name, *(sample.labels[each] for each in ORDER if each in sample.labels)): sample.value
        for family in text_string_to_metric_families(content)
        for sample in family.samples
    }


def test_the_library_reads_back_every_sample_with_its_name_and_labels(found):
    content = text(found).decode()

    read = samples(content)

    assert read == {(each.name, *labels): value for each in found for labels, value in each.samples.items()}
    assert ("ecrlogind_failures_total", HOST, "throttled") in read
    assert read["ecrlogind_build_info", "1.2.3"] == 1
    assert read["ecrlogind_pass_duration_seconds",] == 0.25


def test_it_ends_in_a_newline_and_no_sample_has_a_time_of_its_own(found):
    content = text(found).decode()

    assert content.endswith("\n")
    families = list(text_string_to_metric_families(content))
    assert all(sample.timestamp is None for family in families for sample in family.samples)
    assert all(family.documentation and family.type in ("gauge", "counter") for family in families)


def test_no_series_is_there_twice(found):
    series = [line.rpartition(" ")[0] for line in text(found).decode().splitlines() if not line.startswith("#")]

    assert len(series) == len(set(series))


def test_the_file_is_replaced_whole_and_readable_by_all(tmp_path, found):
    path = tmp_path / "ecrlogind.prom"
    path.write_text("old\n")
    before = path.stat().st_ino
    old = os.umask(0o077)
    try:
        write(path, found)
    finally:
        os.umask(old)

    assert path.stat().st_ino != before
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [each.name for each in tmp_path.iterdir()] == ["ecrlogind.prom"]


def test_the_rules_in_examples_speak_of_metrics_that_exist(found):
    names = {each.name for each in found}
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["annotations"].keys() == {"summary", "description"}
        words = {word.strip("(){}=~\"'[]") for word in rule["expr"].replace("{", " ").replace("(", " ").split()}
        ours = {word.partition("[")[0] for word in words if word.startswith("ecrlogind_")}
        assert ours <= names
        assert ours or "node_textfile_mtime_seconds" in words


def promtool(*arguments, **options):
    need(PROMTOOL.exists(), f"{PROMTOOL}, which tests/support/prepare.sh puts there")
    return subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False, timeout=60, **options)


def test_promtool_has_nothing_against_the_metrics(found):
    content = text(found).decode()

    checked = promtool("check", "metrics", input=content)

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    for spoilt in (content.replace("_total", "_count"), content.replace("# HELP ecrlogind_logins ", "# HELP x ")):
        assert spoilt != content
        assert promtool("check", "metrics", input=spoilt).returncode != 0


def test_promtool_takes_the_rules_in_examples():
    checked = promtool("check", "rules", str(ROOT / "examples/alerts.yml"))

    assert checked.returncode == 0, checked.stderr
    assert "5 rules found" in checked.stdout


# What a host says every minute, and for which of it which alert goes off.
MINUTES = 60
EXPIRY, FAILURES = "ecrlogind_credential_expiry_timestamp_seconds", "ecrlogind_failures_total"
ON = {"instance": "one", "registry": HOST}


@pytest.mark.parametrize(
    ("alert", "series", "values", "healthy"),
    [
        ("EcrCredentialExpiresSoon", (EXPIRY, ON), f"7200x{MINUTES}", f"43200x{MINUTES}"),
        ("EcrCredentialExpired", (EXPIRY, ON), f"1800x{MINUTES}", f"43200x{MINUTES}"),
        ("EcrLoginBroken", ("ecrlogind_logins", {"state": "failed"}), f"1x{MINUTES}", f"0x{MINUTES}"),
        ("EcrIssueRefused", (FAILURES, ON | {"code": "throttled"}), f"0+1x{MINUTES}", f"3x{MINUTES}"),
        (
            "EcrlogindSilent",
            ("node_textfile_mtime_seconds", {"file": "/var/lib/node_exporter/textfile_collector/ecrlogind.prom"}),
            f"600x{MINUTES}",
            f"0+60x{MINUTES}",
        ),
    ],
)
def test_each_alert_goes_off_for_what_it_is_about_and_not_on_a_healthy_host(tmp_path, alert, series, values, healthy):
    name, labels = series
    written = f"{name}{{{','.join(f'{key}={json.dumps(value)}' for key, value in labels.items())}}}"
    severity = next(each["labels"]["severity"] for each in rules() if each["alert"] == alert)

    def alerts(values, expected):
        case = {
            "interval": "1m",
            "input_series": [{"series": written, "values": values}],
            "alert_rule_test": [{"eval_time": f"{MINUTES}m", "alertname": alert, "exp_alerts": expected}],
        }
        path = tmp_path / "test.yml"
        path.write_text(
            json.dumps({"rule_files": [str(ROOT / "examples/alerts.yml")], "tests": [case]})
        )  # JSON is YAML
        return promtool("test", "rules", str(path))

    assert alerts(healthy, []).returncode == 0
    tested = alerts(values, [])
    assert tested.returncode != 0
    assert f'severity="{severity}"' in tested.stdout + tested.stderr


def rules():
    return yaml.safe_load((ROOT / "examples/alerts.yml").read_text())["groups"][0]["rules"]
