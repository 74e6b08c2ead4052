"""The metrics of a daemon that runs."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from standin import Fault
from tests.support.keeper import until

HOST = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
FAR = "111122223333.dkr.ecr.us-east-1.amazonaws.com"


def read(path):
    """Return the samples by name and labels."""
    if not path.exists():
        return {}
    families = text_string_to_metric_families(path.read_text())
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value for family in families for sample in family.samples
    }


def test_the_daemon_writes_what_its_status_says_and_counts_what_was_refused(keeper, aws, tmp_path):
    textfile = tmp_path / "ecrlogind.prom"
    keeper.write_settings([HOST, FAR], metrics={"textfile": str(textfile)})
    aws.fault(Fault(service="ecr", region="us-east-1", error="AccessDeniedException", status=400))
    failures = ("ecrlogind_failures_total", ("code", "access_denied"), ("registry", FAR))

    with keeper.running():
        keeper.wait_for(states={HOST: "in_place", FAR: "failed"})
        first = until(lambda: read(textfile).get(failures), "the failure, counted")
        found = until(lambda: (now := read(textfile)).get(failures, 0) > first and now, "the next failure, counted")

    assert found["ecrlogind_logins", ("state", "in_place")] == 1
    assert found["ecrlogind_logins", ("state", "failed")] == 1
    assert ("ecrlogind_credential_expiry_timestamp_seconds", ("registry", HOST)) in found
    assert ("ecrlogind_credential_expiry_timestamp_seconds", ("registry", FAR)) not in found
    assert 0 < found["ecrlogind_pass_duration_seconds",] < 60


@pytest.mark.parametrize("command", ["login", "run"])
def test_a_textfile_that_cannot_be_written_is_told_once_and_holds_nothing_up(keeper, tmp_path, command):
    keeper.write_settings([HOST], metrics={"textfile": str(tmp_path / "missing" / "ecrlogind.prom")})

    if command == "login":
        done = keeper.run("login")
        assert done.returncode == 0
        log = done.stderr
    else:
        with keeper.running():
            keeper.wait_for(states={HOST: "in_place"})
        log = keeper.log

    assert log.count("No metrics") == 1
    assert "ReadWritePaths=" in log


def test_the_client_library_is_loaded_only_when_asked_for(keeper):
    keeper.write_settings([HOST])
    keeper.environment["PYTHONPROFILEIMPORTTIME"] = "1"

    done = keeper.run("login")

    assert done.returncode == 0
    assert "ecrlogind.keeper.host" in done.stderr
    assert "prometheus_client" not in done.stderr
