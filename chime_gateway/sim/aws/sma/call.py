"""
Simulates one call of a SIP media application: invokes the Lambda and carries out its
actions.

L{chime_gateway.sim.aws.sma.rules} checks the Lambda's responses.
"""

from __future__ import annotations

import json
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredLock,
    TimeoutError,
    maybeDeferred,
)
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from chime_gateway.audio import PCMU
from chime_gateway.codec.g711 import encode_mu_law
from chime_gateway.sim.aws.protocol import ACCOUNT, REGION
from chime_gateway.sim.aws.sma.participants import BridgedLeg, Leg, Phone
from chime_gateway.sim.aws.sma.rules import (
    ANSWERING,
    IGNORED,
    INTERRUPTIBLE,
    MAX_INVOCATIONS,
    InvalidAction,
    check_action,
    fault_of,
)

#: When the application invokes an unresponsive Lambda again, and when it gives up.
RETRY_SECONDS: Final = 5.0
STOP_SECONDS: Final = 20.0

#: Durations of steps that are not simulated.
_FETCH_SECONDS: Final = 0.05
_SECONDS_A_CHARACTER: Final = 0.06

Function: TypeAlias = Callable[[dict[str, Any]], Any]


class Bridge(Protocol):
    def __call__(
        self, call: SmaCall, endpoint: Mapping[str, str], headers: Mapping[str, str]
    ) -> Deferred[BridgedLeg]:
        """
        Call an endpoint.  Fires when it answers; fails with L{InvalidAction}.
        """


class Application(Protocol):
    """
    What a call needs from its application.

    @ivar function: the Lambda: takes an event and returns the response, now or later.
    @ivar fetch: returns a file of S3.
    @ivar owned: the account's telephone numbers.
    """

    application_id: str
    function: Function
    clock: IReactorTime
    fetch: Callable[[str, str], bytes | None]
    bridge: Bridge
    owned: frozenset[str]


class SmaCall:
    """
    One call (a transaction, in AWS' terms).

    @ivar events: the event of every invocation.
    @ivar log: the actions that were run, and the errors.
    """

    _log = Logger()

    def __init__(self, application: Application, leg: Leg, phone: Phone | None):
        self.transaction_id = str(uuid.uuid4())
        self.phone = phone
        self.legs = [leg]
        self.attributes: dict[str, str] = {}
        self.events: list[dict[str, Any]] = []
        self.log: list[str] = []
        self.is_over = False
        self._application = application
        self._clock = application.clock
        self._is_answered = False
        self._turns = DeferredLock()
        self._list: deque[Mapping[str, Any]] = deque()
        self._running: Deferred[Any] | None = None
        self._action: Mapping[str, Any] = {}

    # -- events ----------------------------------------------------------------------

    def update(self, arguments: Mapping[str, str]) -> None:
        """An update of the call was requested."""
        if not self.is_over:
            parameters = {"Arguments": dict(arguments)}
            data = {"Type": "CallUpdateRequest", "Parameters": parameters}
            self.happened("CALL_UPDATE_REQUESTED", data)

    def answered(self) -> None:
        """The called party answered an outbound call."""
        self._is_answered = True
        self.happened("CALL_ANSWERED")

    def hang_up(self, code: int = 0) -> None:
        """The caller hangs up."""
        self._left(self.legs[0], code)

    def leg_b_left(self, code: int = 0) -> None:
        for leg in self.legs[1:]:
            if leg.status == "Connected":
                self._left(leg, code)

    def happened(
        self, kind: str, data: Mapping[str, object] | None = None, **top: object
    ) -> None:
        """Queue an invocation of the Lambda."""
        doing = self._turns.run(
            lambda: Deferred.fromCoroutine(self._invoke(kind, data, top))
        )
        doing.addErrback(self._bug)

    # -- the Lambda --------------------------------------------------------------------

    async def _invoke(
        self, kind: str, data: Mapping[str, object] | None, top: Mapping[str, object]
    ) -> None:
        event: dict[str, Any] = {
            "SchemaVersion": "1.0",
            "Sequence": len(self.events) + 1,
            "InvocationEventType": kind,
            "CallDetails": {
                "TransactionId": self.transaction_id,
                "AwsAccountId": ACCOUNT,
                "AwsRegion": REGION,
                "SipMediaApplicationId": self._application.application_id,
                "TransactionAttributes": dict(self.attributes),
                "Participants": [leg.as_json() for leg in self.legs],
            },
            **top,
        }
        if data is not None:
            event["ActionData"] = data
        self.events.append(event)
        if len(self.events) > MAX_INVOCATIONS:
            self._end_all(480, "too many invocations")
            return
        try:
            answer = await self._ask(event)
        except TimeoutError:
            self._end_all(480, "AWS Lambda client operation timed out.")
            return
        fault = fault_of(answer, kind)
        if fault is not None:
            self.log.append(fault)
            if kind == "INVALID_LAMBDA_RESPONSE":
                self._end_all(480, fault)
                return
            error = {"ErrorType": "InvalidLambdaResponse", "ErrorMessage": fault}
            self.happened("INVALID_LAMBDA_RESPONSE", None, **error)
            return
        attributes = answer.get("TransactionAttributes")
        if attributes is not None:
            self.attributes = dict(attributes)
        if kind not in IGNORED:
            self._take(answer.get("Actions"), kind == "CALL_UPDATE_REQUESTED")

    async def _ask(self, event: dict[str, object]) -> Any:
        """
        Invoke the function, and again if it is slow; the first response counts.

        @raise TimeoutError: there was no response.
        """
        answered: Deferred[Any] = Deferred()

        def ask() -> None:
            # The event is sent as JSON.
            copy = json.loads(json.dumps(event))
            asking = maybeDeferred(self._application.function, copy)
            asking.addCallbacks(came, failed)

        def came(answer: object) -> None:
            if not answered.called:
                answered.callback(answer)

        def failed(failure: Failure) -> None:
            self.log.append(f"the function failed: {failure.getErrorMessage()}")

        ask()
        again = self._clock.callLater(RETRY_SECONDS, ask)
        answered.addTimeout(STOP_SECONDS, self._clock)
        try:
            return await answered
        finally:
            if again.active():
                again.cancel()

    # -- actions -----------------------------------------------------------------------

    def _take(
        self, actions: list[Mapping[str, object]] | None, interrupts: bool
    ) -> None:
        if actions is None or self.is_over:
            return
        self._list = deque(actions)
        running = self._running
        if running is None:
            self._next()
        elif interrupts and self._action["Type"] in INTERRUPTIBLE:
            self._running = None
            running.cancel()
            data = self._data()
            self._next()
            self.happened("ACTION_INTERRUPTED", data)

    def _data(self, **more: str) -> dict[str, Any]:
        parameters = dict(self._action.get("Parameters") or {})
        return {"Type": self._action.get("Type"), "Parameters": parameters, **more}

    def _next(self) -> None:
        if self.is_over or not self._list:
            return
        self._action = self._list.popleft()
        running = Deferred.fromCoroutine(self._run(self._action))
        self._running = running

        def done(result: object) -> None:
            if self._running is not running:
                if not (isinstance(result, Failure) and result.check(CancelledError)):
                    self._bug(result)
                return
            self._running = None
            if isinstance(result, Failure):
                if result.check(InvalidAction) is None:
                    self._bug(result)
                    return
                self._list.clear()
                error: Any = result.value
                self.log.append(f"{error.kind}: {error}")
                data = self._data(ErrorType=error.kind, ErrorMessage=str(error))
                self.happened("ACTION_FAILED", data)
            elif self._list:
                self._next()
            elif not self.is_over:
                self.happened("ACTION_SUCCESSFUL", self._data())

        running.addBoth(done)

    async def _run(self, action: Mapping[str, Any]) -> None:
        kind = action["Type"]
        parameters = action.get("Parameters") or {}
        check_action(
            action, owned=self._application.owned, caller=self.legs[0].from_number
        )
        self.log.append(kind)
        if kind in ANSWERING:
            self._answer()
        if kind == "Pause":
            await self._wait(int(parameters["DurationInMilliseconds"]) / 1000)
        elif kind == "Speak":
            await self._wait(len(parameters["Text"]) * _SECONDS_A_CHARACTER)
        elif kind == "PlayAudio":
            await self._play(parameters["AudioSource"])
        elif kind == "Hangup":
            leg = self._named(parameters)
            if leg.tag == "LEG-B":
                self._left(leg, 0, by_us=True)
            else:
                # Later, because the hang-up also stops this list of actions.
                self._clock.callLater(0, self._left, leg, 0, by_us=True)
        else:
            await self._bridge(parameters)

    def _answer(self) -> None:
        if not self._is_answered and self.phone is not None:
            self._is_answered = True
            self.phone.answered()

    def _wait(self, seconds: float) -> Deferred[None]:
        waiting: Deferred[None] = deferLater(self._clock, seconds)
        return waiting

    async def _play(self, source: Mapping[str, str]) -> None:
        phone = self.phone
        assert phone is not None
        try:
            await self._wait(_FETCH_SECONDS)
            data = self._application.fetch(source["BucketName"], source["Key"])
            if data is None or data[:4] != b"RIFF" or data[20:28] != _PCM_8000:
                raise InvalidAction("Invalid audio source", "InvalidAudioSource")
            audio = encode_mu_law(np.frombuffer(data[44:], "<i2").astype(np.int16))
            phone.play(audio)
            await self._wait(len(audio) / PCMU.bytes_per_second)
        except CancelledError:
            phone.stop_playing()
            raise

    async def _bridge(self, parameters: Mapping[str, Any]) -> None:
        (endpoint,) = parameters["Endpoints"]
        headers = parameters.get("SipHeaders", {})
        leg = Leg(
            "LEG-B",
            endpoint["Uri"],
            parameters["CallerIdNumber"],
            "Outbound",
            "Ringing",
        )
        calling = self._application.bridge(self, endpoint, headers)
        calling.addTimeout(parameters.get("CallTimeoutSeconds", 30), self._clock)
        try:
            leg.other = await calling
        except TimeoutError as exc:
            raise InvalidAction("Call not answered", "CallNotAnswered") from exc
        if self.is_over:
            leg.other.hang_up()
            return
        leg.status = "Connected"
        self.legs = [one for one in self.legs if one.tag != "LEG-B"]
        self.legs.append(leg)
        self._answer()

    def _named(self, parameters: Mapping[str, object]) -> Leg:
        for leg in reversed(self.legs):
            if parameters.get("CallId") in (None, leg.call_id) and (
                parameters.get("CallId") or parameters.get("ParticipantTag") == leg.tag
            ):
                return leg
        raise InvalidAction("CallId is not of this call")

    # -- the end -----------------------------------------------------------------------

    def _left(self, leg: Leg, code: int, by_us: bool = False) -> None:
        if leg.status == "Disconnected" or self.is_over:
            return
        leg.status = "Disconnected"
        if leg.tag == "LEG-A":
            self._stop()
            if by_us and self.phone is not None:
                self.phone.hung_up(code)
        elif leg.other is not None and by_us:
            leg.other.hang_up()
        parameters = {
            "SipResponseCode": code,
            "CallId": leg.call_id,
            "ParticipantTag": leg.tag,
        }
        self.happened("HANGUP", {"Type": "Hangup", "Parameters": parameters})
        if all(one.status == "Disconnected" for one in self.legs):
            self.is_over = True

    def _stop(self) -> None:
        self._list.clear()
        running, self._running = self._running, None
        if running is not None:
            running.cancel()

    def _end_all(self, code: int, why: str) -> None:
        self.log.append(why)
        self.is_over = True
        self._stop()
        for leg in self.legs:
            leg.status = "Disconnected"
            if leg.other is not None:
                leg.other.hang_up()
        if self.phone is not None:
            self.phone.hung_up(code)

    def _bug(self, failure: object) -> None:
        if isinstance(failure, Failure) and not failure.check(CancelledError):
            self._log.failure("unexpected error in the simulated application", failure)


#: The format fields of a WAV file with PCM, one channel, 8000 Hz.
_PCM_8000: Final = b"\1\0\1\0\x40\x1f\0\0"
