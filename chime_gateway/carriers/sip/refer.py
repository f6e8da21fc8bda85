"""
Transfers the caller, and waits for the result: by REFER (RFC 3515) where it is
supported, otherwise by C{UpdateSipMediaApplicationCall}.
"""

from __future__ import annotations

import re
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from chime_gateway.carriers.pending_transfer import PendingTransfer
from chime_gateway.carriers.sip.dialog import LiveDialog
from chime_gateway.errors import TransferFailed
from chime_gateway.settings.telephone import dialled
from chime_gateway.wire.sip.format import uri_host
from chime_gateway.wire.sip.message import Header, Response

#: A REFER without a final report by then has failed.
_REFER_SECONDS: Final = 60.0

#: The SIP media application ends the gateway's leg first, well within this time.
_HAND_OVER_SECONDS: Final = 20.0

_FRAGMENT: Final = re.compile(rb"\s*SIP/2\.0 (\d{3})")


class Transfer(PendingTransfer):
    """One transfer over SIP."""

    def __init__(self, clock: IReactorTime, seconds: float) -> None:
        super().__init__(clock, seconds, "there was no report of the transfer")

    def notified(self, body: bytes) -> None:
        """A NOTIFY came."""


class DelegatedTransfer(Transfer):
    """
    A transfer by the SIP media application, which hangs up the gateway's leg and calls
    the target.

    The gateway must not hang up itself: the request is carried out some time after it
    was accepted, and until then a BYE ends the caller's leg as well.

    @param asking: fires when the request was accepted; fails with L{TransferFailed}.
    """

    def __init__(self, asking: Deferred[None], clock: IReactorTime) -> None:
        super().__init__(clock, _HAND_OVER_SECONDS)
        asking.addErrback(self._refused)

    def _refused(self, failure: Failure) -> None:
        failure.trap(TransferFailed)
        self.fail(f"the transfer was refused: {failure.getErrorMessage()}")


class Referral(Transfer):
    """One REFER."""

    def __init__(self, dialog: LiveDialog, target: str, clock: IReactorTime) -> None:
        host = uri_host(dialog.flow.source.host)
        uri = target if ":" in target else f"sip:{dialled(target)}@{host}"
        refer_to: Header = ("Refer-To", f"<{uri}>")
        headers = (dialog.contact(), refer_to)
        super().__init__(clock, _REFER_SECONDS)
        try:
            dialog.request("REFER", headers, b"", self._answered)
        except Exception:
            # The caller gets the exception, so this failure is ignored.
            self.done.addErrback(lambda _: None)
            self.fail("the REFER was not sent")
            raise

    def notified(self, body: bytes) -> None:
        """A NOTIFY brought this C{message/sipfrag}."""
        found = _FRAGMENT.match(body)
        status = int(found[1]) if found else 0
        if status >= 300:
            self.fail(f"the transfer was answered with {status}")
        elif status >= 200:
            self.succeed()

    def _answered(self, response: Response | None) -> None:
        if response is None:
            self.fail("the transfer was not answered")
        elif response.status >= 300:
            self.fail(f"the transfer was refused with {response.status}")
