"""Host names of requests."""

from __future__ import annotations

from hypothesis import strategies as st

#: With each, whether it is a name of this machine, which was reached at 10.0.0.1.
NAMES = st.sampled_from(
    (
        *(("localhost", True), ("LOCALHOST", True), ("localhost.", True)),
        *(("a.localhost", True), ("127.0.0.1", True), ("127.9.9.9", True)),
        *(("[::1]", True), ("10.0.0.1", True), ("gw.example.com", True)),
        *(("evil.test", False), ("localhost.evil.test", False), ("", False)),
        *(("127.0.0.1.evil.test", False), ("10.0.0.2", False), ("0.0.0.0", False)),
        *(("notlocalhost", False), ("[::2]", False), ("localhost@evil", False)),
    )
)
