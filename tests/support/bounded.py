"""How many examples a property is tried with: few for every commit, many by hand (`--hypothesis-profile=long`)."""

from hypothesis import HealthCheck, settings

USUAL = 100

# A machine that is busy with other tests is no reason for a property to fail.
settings.register_profile("ecrlogind", deadline=None, max_examples=USUAL)
settings.register_profile(
    "long", deadline=None, max_examples=100 * USUAL, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)


def examples(usual, **more):
    """Try a property with *usual* examples, each time the same; in the long form with a hundred times as many, others.

    So a commit is never refused for what it did not change; what the long form finds becomes an `@example` or a test.
    """
    most = settings.default.max_examples
    return settings(max_examples=max(1, usual * most // USUAL), derandomize=most == USUAL, **more)
