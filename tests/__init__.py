"""
The suite runs side by side with other programs, so what hypothesis takes for a slow
test may be a busy machine.
"""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("busy machine")
