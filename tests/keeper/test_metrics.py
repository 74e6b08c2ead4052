"""The textfile that node_exporter takes up: parsed by the client library's own parser."""

import os
import stat
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from ecrlogind.core.metrics import Counters, metrics
from ecrlogind.keeper.metrics import text, write
from tests.support.world import World

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
    rules = yaml.safe_load((ROOT / "examples/alerts.yml").read_text())["groups"][0]["rules"]

    names = {each.name for each in found}
    for rule in rules:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["annotations"].keys() == {"summary", "description"}
        words = {word.strip("(){}=~\"'[]") for word in rule["expr"].replace("{", " ").replace("(", " ").split()}
        ours = {word.partition("[")[0] for word in words if word.startswith("ecrlogind_")}
        assert ours <= names
        assert ours or "node_textfile_mtime_seconds" in words
