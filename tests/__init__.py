"""The tests. How long one takes is the machine's business: others run beside it."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "beside others",
    settings(),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("beside others")
