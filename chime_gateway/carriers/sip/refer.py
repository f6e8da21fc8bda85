"""
Transfers the other side, and learns the result: with REFER (RFC 3515) where it is
supported, otherwise through C{UpdateSipMediaApplicationCall}.
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

#: A transfer that the other side says nothing of any more has failed.
_REFER_SECONDS: Final = 60.0

#: Who controls the call takes our leg down first, and soon.
_HAND_OVER_SECONDS: Final = 20.0

_FRAGMENT: Final = re.compile(rb"\s*SIP/2\.0 (\d{3})")


class Transfer(PendingTransfer):
    """One transfer over SIP."""

    def __init__(self, clock: IReactorTime, seconds: float) -> None:
        super().__init__(clock, seconds, "the transfer was not reported on")

    def notified(self, body: bytes) -> None:
        """A NOTIFY came."""


class DelegatedTransfer(Transfer):
    """
    Asked of who controls the call, who hangs our leg up and calls the target.

    To hang up ourselves would be too early: the request is carried out some time
    after it was taken, and until then our BYE ends the caller's leg as well.

    @param asking: fires when the request was taken; fails with L{TransferFailed}.
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
            # Nobody has it.
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
