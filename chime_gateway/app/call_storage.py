"""
Starts and stops, in order, all parts that store calls or report events: the store,
recordings, uploads, captures, live events.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from chime_gateway.call.reports.event_json import call_json, event_json, payload_json
from chime_gateway.call.reports.events import CallEnded, CallEvent
from chime_gateway.capture.files import CaptureFiles
from chime_gateway.errors import ConfigError
from chime_gateway.http.api.live_events import LiveEvents
from chime_gateway.net.generations.channel import Message
from chime_gateway.net.generations.kin import Kin, Peer
from chime_gateway.net.signed_post import SignedPost
from chime_gateway.net.system.private_files import make_folder
from chime_gateway.net.worker import WorkerThread
from chime_gateway.settings.values import GatewaySettings
from chime_gateway.store.numbers import CallNumbers, NumberGuard
from chime_gateway.store.recordings.endings import Endings
from chime_gateway.store.recordings.files import RecordingWriter, WavFile
from chime_gateway.store.store import Store

if TYPE_CHECKING:
    from chime_gateway.net.aws.api import AwsApi
    from chime_gateway.store.recordings.uploads import Uploads

#: The message with an event of a call of an older process.
_HAPPENED: Final = "events.happened"

#: How long a stop waits for a slow writer.
_STOP_SECONDS = 10.0


class CallStorage:
    """
    The storage of calls.

    @ivar store: C{None}: calls are not stored; C{recordings} and C{captures}
        likewise.
    @param kin: the other processes of this gateway.
    @ivar listeners: functions that receive the events of calls.
    @raise ConfigError: a setting is invalid.
    """

    _log = Logger()

    def __init__(
        self,
        settings: GatewaySettings,
        reactor: Any,
        in_thread: Callable[..., Deferred[object]],
        post: SignedPost,
        aws: AwsApi | None,
        kin: Kin,
    ) -> None:
        self.store: Store | None = None
        self.recordings: RecordingWriter | None = None
        self.uploads: Uploads | None = None
        self.captures: CaptureFiles | None = None
        self.guard = NumberGuard()
        self._reactor = reactor
        self._in_thread = in_thread
        self._post = post
        self._location = settings.recordings.location.rstrip("/")
        if settings.recordings.location:
            self._compose_recordings(settings, aws)
        if settings.store is not None:
            self.store = Store(
                settings.store,
                settings.webhooks,
                post=post,
                in_thread=in_thread,
                in_reactor=reactor.callFromThread,
                clock=reactor,
                wall_time=time.time,
                jitter=random.random,
                generation=kin.generation,
                is_alone=not kin.is_successor,
                recordings=self.recordings,
                captures=_folder(settings.capture_directory),
            )
            self.guard = self.store.guard
        if settings.capture_directory:
            self.captures = CaptureFiles(Path(settings.capture_directory))
        self._numbers = CallNumbers(self.guard)
        self.live = LiveEvents(reactor, self._shown, time.time, random.random)
        self._receivers: list[Callable[[CallEvent], None]] = [self.live.happened]
        if self.store is not None:
            self._receivers.insert(0, self.store.book.happened)
        self.listeners = self._receivers
        self._endings: Endings | None = None
        self._kin = kin
        self.live.passed_on = self._pass_on
        self.live.is_elsewhere = lambda: kin.newest is not None
        kin.on(_HAPPENED, self._happened_elsewhere)
        kin.newest_changed.append(lambda _: self.live.close())
        kin.older_gone.append(lambda _: self._older_gone())
        if self.recordings is not None:
            self._endings = Endings(self.recordings, reactor, self._tell)
            self.listeners = [self._endings.happened]

    def _compose_recordings(
        self, settings: GatewaySettings, aws: AwsApi | None
    ) -> None:
        folder = Path(settings.recordings.location)
        if settings.recordings.is_s3:
            # Imported when used: it imports botocore.
            from chime_gateway.store.recordings.uploads import Uploads

            assert aws is not None
            state = settings.store.state_directory if settings.store else "."
            folder = Path(state) / "recordings"
            self.uploads = Uploads(
                settings.recordings, aws, self._in_thread, self._reactor, random.random
            )
        try:
            make_folder(folder)
        except OSError as exc:
            raise ConfigError(
                f"CHIMEGW_RECORDINGS {folder}: the folder cannot be created: {exc}"
            ) from exc
        self.recordings = RecordingWriter(
            folder, self._location_of, self._finished, self._written
        )

    def _pass_on(self, kind: str, call_id: str, text: str) -> None:
        """Pass an event on to the process that has the listeners."""
        newest = self._kin.newest
        if newest is not None:
            head = {"kind": kind, "call_id": call_id}
            newest.send(_HAPPENED, head, text.encode())

    def _happened_elsewhere(self, _: Peer, message: Message) -> None:
        head = message.head
        text = message.body.decode()
        self.live.told(str(head.get("kind")), str(head.get("call_id")), text)

    def _tell(self, event: CallEvent) -> None:
        for listener in self._receivers:
            with self._log.failuresHandled("could not report an event of a call"):
                listener(event)

    def _written(self, wav: WavFile) -> None:
        """Called in any thread."""
        if self._endings is not None:
            self._reactor.callFromThread(self._endings.written, wav)

    def _location_of(self, name: str) -> str:
        return f"{self._location}/{name}"

    def _finished(self, path: Path, location: str) -> None:
        """Called in the thread of the recordings."""
        if self.uploads is not None:
            self._reactor.callFromThread(self.uploads.add, path, location)

    def _shown(self, event: CallEvent) -> dict[str, Any]:
        payload = self._numbers.shown(event)
        if isinstance(payload, CallEnded):
            # Listeners have received its turns already, and many events are kept for
            # late listeners: whole transcripts would take too much memory.
            return event_json(event, call_json(payload.call))
        return event_json(event, payload_json(payload))

    # -- life ----------------------------------------------------------------------

    def start(self) -> None:
        if self.recordings is not None:
            self._upload(self._left(self.recordings))
            self.recordings.start()
        if self.store is not None:
            self.store.start()
        if self.captures is not None:
            self.captures.start()

    def _left(self, recordings: RecordingWriter) -> list[tuple[Path, str]]:
        """
        Repair recordings of processes that have ended.  Return those to upload, which
        may include some that another process is about to upload.
        """
        found = [] if self.uploads is None else recordings.left_over()
        repaired = recordings.repair()
        if repaired:
            self._log.warn(
                "repaired {count} recordings of an earlier run", count=repaired
            )
        return found

    def _upload(self, found: list[tuple[Path, str]]) -> None:
        if self.uploads is not None:
            for path, location in found:
                self.uploads.add(path, location)

    def _older_gone(self) -> None:
        """A process of this gateway has ended, normally or not."""
        if self.store is not None:
            self.store.writer.look_soon()
        if self.recordings is not None:
            looking = self._in_thread(self._left, self.recordings)
            looking.addCallbacks(
                self._upload,
                lambda failure: self._log.failure(
                    "could not look for recordings of an earlier run", failure
                ),
            )

    def serve(self) -> None:
        """This process takes every new call from now on."""
        if self.store is not None:
            self.store.serve()

    async def stop(self) -> None:
        """After the last call."""
        if self.recordings is not None:
            await self._in_thread(self.recordings.stop, _STOP_SECONDS)
            assert self._endings is not None
            self._endings.close()
        self.live.close()
        if self.uploads is not None:
            await self.uploads.stop()
        if self.store is not None:
            await self.store.stop()
        if self.captures is not None:
            await self._in_thread(self.captures.stop, _STOP_SECONDS)
        closing = self._post.close()
        if closing is not None:
            await closing

    def hurry(self) -> None:
        """Make a stop, in progress or later, wait only for what is essential."""
        if self.store is not None:
            self.store.writer.hurry()

    # -- asked -----------------------------------------------------------------------

    def workers(self) -> Iterator[WorkerThread[Any]]:
        """Yield the threads that write."""
        if self.store is not None:
            yield from self.store.writer.workers
        if self.recordings is not None:
            yield self.recordings.worker
        if self.captures is not None:
            yield self.captures.worker

    def health(self, *, in_detail: bool) -> Mapping[str, Any]:
        """
        Return the members of C{/health}.

        @param in_detail: with the database's own error, which may name its address.
        """
        if self.store is None:
            return {}
        writer = self.store.writer
        fault = writer.fault
        return {
            "store": _unavailable(fault, in_detail=in_detail) if fault else "ok",
            "store_oldest_seconds": round(writer.oldest_seconds, 1),
        }

    def notes(self, *, in_detail: bool) -> Mapping[str, Any]:
        """Return problems that do not prevent calls."""
        if self.store is None or not self.store.writer.fault:
            return {}
        return self.health(in_detail=in_detail)

    def fault(self, *, in_detail: bool) -> str | None:
        """
        Return why this gateway should get no calls because of their storage.

        Records wait on this machine while the database is unavailable, and while it
        has a newer schema, as during an upgrade of several gateways.  A database that
        is not the gateway's is a mistake, like a wrong setting.
        """
        if self.store is None or self.store.writer.is_open:
            return None
        if not self.store.writer.is_foreign:
            return None
        return self.store.writer.fault if in_detail else "the database is another's"


def _unavailable(fault: str, *, in_detail: bool) -> str:
    return f"away: {fault}" if in_detail else "away"


def _folder(name: str) -> Path | None:
    return Path(name) if name else None
