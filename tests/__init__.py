"""The tests. How long one takes is the machine's business: others run beside it."""

import gc

from hypothesis import HealthCheck, settings

# All objects are looked through a tenth as often: with those of all tests and of what
# they import that took an eighth of the time.
gc.set_threshold(*gc.get_threshold()[:2], 100)

settings.register_profile(
    "beside others",
    settings(),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("beside others")
