"""
Hand the other side on with REFER (RFC 3515) and learn how it went.
"""

from __future__ import annotations

import re
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from chime_gateway.errors import TransferFailed
from chime_gateway.legs.sip_dialog import LiveDialog
from chime_gateway.wire.sip import Header, Response

#: A transfer that the other side says nothing of any more has failed.
_SECONDS: Final = 60.0

_FRAGMENT: Final = re.compile(rb"\s*SIP/2\.0 (\d{3})")


class Referral:
    """
    One REFER.

    @ivar done: fires when the other side has reached the target; fails with
        L{TransferFailed}.
    """

    def __init__(self, dialog: LiveDialog, target: str, clock: IReactorTime) -> None:
        self.done: Deferred[None] = Deferred(lambda _: self._finish("cancelled"))
        self._due = clock.callLater(_SECONDS, self._finish, "not reported on")
        uri = target if ":" in target else f"sip:{target}@{dialog.flow.source.host}"
        refer_to: Header = ("Refer-To", f"<{uri}>")
        headers = (dialog.contact(), refer_to)
        dialog.request("REFER", headers, b"", self._answered)

    @property
    def is_over(self) -> bool:
        return bool(self.done.called)

    def notified(self, body: bytes) -> None:
        """A NOTIFY brought this C{message/sipfrag}."""
        found = _FRAGMENT.match(body)
        status = int(found[1]) if found else 0
        if status >= 300:
            self._finish(f"answered with {status}")
        elif status >= 200:
            self._finish(None)

    def left(self) -> None:
        """The other side hung up: it has gone where it was sent."""
        self._finish(None)

    def cut_short(self) -> None:
        """The call ended before it was known."""
        self._finish("cut short: the call is over")

    def _answered(self, response: Response | None) -> None:
        if response is None:
            self._finish("not answered")
        elif response.status >= 300:
            self._finish(f"refused with {response.status}")

    def _finish(self, fault: str | None) -> None:
        if self._due.active():
            self._due.cancel()
        if self.done.called:
            return
        if fault is None:
            self.done.callback(None)
        else:
            self.done.errback(TransferFailed(f"the transfer was {fault}"))
