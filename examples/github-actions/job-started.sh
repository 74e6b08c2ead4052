#!/bin/sh
# ACTIONS_RUNNER_HOOK_JOB_STARTED: a job without logins fails here, with the reason in its log.
exec /opt/ecrlogind/bin/ecrlogind wait --timeout 1min
