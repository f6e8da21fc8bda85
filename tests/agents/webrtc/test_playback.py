from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.webrtc.playback import TAIL_SECONDS, Playback
from chime_gateway.wire.realtime.events import (
    AudioDelta,
    AudioDone,
    Event,
    PartAdded,
    PlaybackStarted,
    PlaybackStopped,
    ResponseDone,
    ResponseStarted,
    SpeechStarted,
    ToolCalled,
    Usage,
)

QUIET = b"\xff" * 160


def loud(number: int) -> bytes:
    """Return a frame that differs from all others."""
    return bytes((number % 100, number // 100)) * 80


class User:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.audio: list[tuple[str, bytes]] = []
        self.dropped: list[str] = []
        self.tokens = 0

    def handle(self, event: Event) -> None:
        self.events.append(event)

    def audio_came(self, audio: AudioDelta) -> None:
        data = audio.audio
        for at in range(0, len(data), 160):
            self.audio.append((audio.response_id, data[at : at + 160]))

    def audio_dropped(self, reason: str, byte_count: int) -> None:
        self.dropped.append(reason)

    def tokens_came(self, usage: Usage) -> None:
        self.tokens += usage.total

    def done(self, response_id: str) -> str | None:
        """How it ended; C{None}: it has not."""
        for event in self.events:
            if isinstance(event, ResponseDone) and event.response_id == response_id:
                return event.status
        return None


class PlaybackTestCase(SynchronousTestCase):
    is_interruptible = True

    def setUp(self) -> None:
        self.start()

    def start(self) -> None:
        self.now = 0.0
        self.user = User()
        self.playback = Playback(
            self.user,
            lambda frame: frame != QUIET,
            is_interruptible=self.is_interruptible,
        )
        self.count = 0
        self.sent: list[bytes] = []

    def came(self, event: Event) -> None:
        self.playback.event_came(event, self.now)

    def made(self, response_id: str, status: str = "completed") -> None:
        """Generate a response like the service, long before it is heard."""
        self.came(ResponseStarted(response_id))
        self.came(PartAdded(response_id, f"item {response_id}", 0, True))
        self.came(AudioDone(f"item {response_id}"))
        self.came(ResponseDone(response_id, status, "", Usage(3, 4)))

    def hear(self, frames: int = 1, frame: bytes | None = None) -> None:
        for _ in range(frames):
            self.count += 1
            audio = loud(self.count) if frame is None else frame
            self.sent.append(audio)
            self.playback.audio_came(audio, self.now)
            self.now += 0.02
            self.playback.tick(self.now)

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.02)):
            self.now += 0.02
            self.playback.tick(self.now)


class PlaybackTests(PlaybackTestCase):
    def test_a_response_is_over_when_it_was_heard(self) -> None:
        self.made("r")
        self.came(PlaybackStarted("r"))
        self.hear(50)
        self.assertIsNone(self.user.done("r"))
        # Its tokens are billed, whatever happens to the call.
        self.assertEqual(self.user.tokens, 7)
        self.came(PlaybackStopped("r", is_cut=False))
        self.hear(3)
        self.wait(TAIL_SECONDS)
        self.assertEqual(self.user.done("r"), "completed")
        kinds = [type(e) for e in self.user.events]
        self.assertLess(kinds.index(AudioDone), kinds.index(ResponseDone))
        self.assertEqual(self.user.audio, [("r", frame) for frame in self.sent])

    @given(st.integers(0, 5), st.integers(0, 6))
    def test_silence_after_the_last_word_is_left_out(
        self, quiet: int, last: int
    ) -> None:
        """Silence between two words is kept."""
        self.start()
        self.made("r")
        self.came(PlaybackStarted("r"))
        self.hear(50)
        self.came(PlaybackStopped("r", is_cut=False))
        self.hear(quiet, QUIET)
        self.hear(last)
        said = self.sent[: None if last else 50]
        self.hear(20, QUIET)
        self.assertEqual(self.user.done("r"), "completed")
        self.assertEqual(
            b"".join(audio for _, audio in self.user.audio), b"".join(said)
        )

    def test_silence_of_a_forgotten_response_is_not_passed_on_forever(
        self,
    ) -> None:
        """It sends silence instead; the call has to notice the missing answer."""
        for is_complete in (False, True):
            self.start()
            self.came(ResponseStarted("r"))
            self.came(PartAdded("r", "item r", 0, True))
            self.came(PlaybackStarted("r"))
            self.hear(50)
            if is_complete:
                self.came(AudioDone("item r"))
            self.hear(500, QUIET)
            silent = len(self.user.audio) - 50
            self.assertLess(silent * 0.02, 2.0)
            told = [type(e) for e in self.user.events]
            self.assertEqual(AudioDone in told, is_complete)
            self.assertIsNone(self.user.done("r"))
            # It was only a long pause.
            self.hear(1)
            self.assertEqual(self.user.audio[-1], ("r", self.sent[-1]))

    @given(
        st.lists(st.sampled_from(("part", "audio", "done")), min_size=1, max_size=9),
        st.integers(1, 60),
    )
    def test_a_service_that_repeats_itself_fills_no_memory(
        self, said: list[str], times: int
    ) -> None:
        """What is kept of a response is limited, and it has one end."""
        self.start()
        self.made("r")
        for number in range(times):
            events: dict[str, Event] = {
                "part": PartAdded("r", f"item {number}", 0, True),
                "audio": AudioDone(f"item {number // 2}"),
                "done": ResponseDone("r", "completed", "", Usage(3, 4)),
            }
            for what in said:
                self.came(events[what])
        response = self.playback._responses["r"]
        self.assertLessEqual(len(response.parts), 16)
        self.assertLessEqual(len(response.ends), 17)
        self.came(PlaybackStarted("r"))
        self.hear(20)
        self.came(PlaybackStopped("r", is_cut=False))
        self.wait(2 * TAIL_SECONDS)
        ends = [event for event in self.user.events if type(event) is ResponseDone]
        self.assertEqual(len(ends), 1)
        self.assertEqual(self.user.tokens, 7)

    def test_a_response_without_audio_is_over_at_once(self) -> None:
        self.came(ResponseStarted("r"))
        self.came(ToolCalled("r", "c", "f", "{}"))
        self.came(ResponseDone("r", "completed", "", Usage(1, 1)))
        self.assertEqual(self.user.done("r"), "completed")
        self.assertEqual(self.user.tokens, 0)

    def test_a_tool_is_called_while_its_response_is_heard(self) -> None:
        self.made("r")
        self.came(PlaybackStarted("r"))
        self.came(ToolCalled("r", "c", "f", "{}"))
        self.assertEqual(type(self.user.events[-1]), ToolCalled)

    def test_a_pause_belongs_to_no_response(self) -> None:
        self.hear(100, QUIET)
        self.made("r")
        self.hear(5, QUIET)
        self.came(PlaybackStarted("r"))
        self.hear(10)
        self.assertEqual(len(self.user.audio), 10)
        self.assertEqual(self.user.dropped, [])

    def test_packets_may_arrive_before_their_events(self) -> None:
        self.hear(4)
        self.made("r")
        self.came(PlaybackStarted("r"))
        self.hear(4)
        self.assertEqual([frame for _, frame in self.user.audio], self.sent)

    def test_a_service_without_buffer_events_is_supported(self) -> None:
        self.made("r")
        self.hear(30)
        self.hear(20, QUIET)
        self.assertIsNone(self.user.done("r"))
        self.hear(40, QUIET)
        self.assertEqual(self.user.done("r"), "completed")
        self.made("s")
        self.hear(10)
        self.assertEqual({name for name, _ in self.user.audio}, {"r", "s"})

    def test_a_response_that_is_never_heard_still_ends(self) -> None:
        self.made("r")
        self.wait(10.0)
        self.assertEqual(self.user.done("r"), "completed")
        self.assertEqual(self.user.audio, [])

    def test_a_cut_response_was_not_completed(self) -> None:
        self.made("r")
        self.came(PlaybackStarted("r"))
        self.hear(10)
        self.came(SpeechStarted(0, "u"))
        self.assertEqual(self.user.done("r"), "cancelled")
        self.assertNotIn(AudioDone, [type(e) for e in self.user.events])
        heard = len(self.user.audio)
        # Packets that were in transit.
        self.hear(5)
        self.came(PlaybackStopped("r", is_cut=True))
        self.hear(5)
        self.assertEqual(len(self.user.audio), heard)
        self.made("s")
        self.hear(3, QUIET)
        self.came(PlaybackStarted("s"))
        self.hear(5)
        self.assertEqual([name for name, _ in self.user.audio[heard:]], ["s"] * 5)

    def test_a_response_completed_while_it_is_cut_was_not_completed(self) -> None:
        self.came(ResponseStarted("r"))
        self.came(PartAdded("r", "i", 0, True))
        self.came(PlaybackStarted("r"))
        self.hear(5)
        self.came(SpeechStarted(0, "u"))
        self.came(ResponseDone("r", "completed", "", Usage(1, 1)))
        self.assertEqual(self.user.done("r"), "cancelled")

    def test_the_end_of_a_cancelled_response_is_reported_later(self) -> None:
        """The code that cancels must not be re-entered."""
        self.made("r")
        self.came(PlaybackStarted("r"))
        self.hear(5)
        self.playback.cancelled("r", self.now)
        self.assertIsNone(self.user.done("r"))
        self.wait(0.02)
        self.assertEqual(self.user.done("r"), "cancelled")

    def test_silence_replaces_only_a_short_gap(self) -> None:
        self.made("r")
        self.came(PlaybackStarted("r"))
        self.hear(10)
        for _ in range(200):
            self.now += 0.02
            self.playback.gap_filled(QUIET, self.now)
        self.assertLess(len(self.user.audio), 100)
        self.assertGreater(len(self.user.audio), 50)

    @settings(max_examples=40, deadline=None)
    @given(st.booleans(), st.booleans(), st.integers(0, 100), st.integers(0, 3))
    def test_a_response_without_packets_has_no_audio(
        self, is_told: bool, is_stopped: bool, gaps: int, packets: int
    ) -> None:
        """Audio that replaces packets does not count: the response failed."""
        self.start()
        self.made("r")
        if is_told:
            self.came(PlaybackStarted("r"))
        self.hear(packets)
        for _ in range(gaps):
            self.now += 0.02
            self.playback.gap_filled(QUIET, self.now)
        if is_told and is_stopped:
            self.came(PlaybackStopped("r", is_cut=False))
        for _ in range(400):
            self.now += 0.02
            self.playback.tick(self.now)
        self.assertEqual(self.user.done("r"), "completed")
        self.assertEqual(bool(self.user.audio), packets > 0)

    def test_responses_that_never_end_fill_no_memory(self) -> None:
        for number in range(1000):
            self.came(ResponseStarted(f"r{number}"))
            self.came(PartAdded(f"r{number}", f"i{number}", 0, True))
        self.assertLess(len(self.playback._responses), 20)


class UninterruptedTests(PlaybackTestCase):
    is_interruptible = False

    def test_a_service_that_continues_to_speak_is_heard(self) -> None:
        self.made("r")
        self.came(PlaybackStarted("r"))
        self.hear(10)
        self.came(SpeechStarted(0, "u"))
        self.hear(10)
        self.assertEqual(len(self.user.audio), 20)


_STEPS = st.lists(
    st.sampled_from(
        (
            *("make", "make", "start", "stop", "clear", "speech", "cancel"),
            *("hear", "hear", "hear", "quiet", "nothing"),
        )
    ),
    max_size=40,
)


class ScheduleTests(PlaybackTestCase):
    """Events and packets in any order: they use two paths, and either may be late."""

    @settings(max_examples=150, deadline=None)
    @given(_STEPS)
    def test_nothing_is_heard_after_a_cut_and_every_response_ends_once(
        self, steps: list[str]
    ) -> None:
        self.start()
        made: list[str] = []
        cut: dict[str, int] = {}
        stale: set[bytes] = set()
        cut_at = -1.0
        for step in steps:
            last = made[-1] if made else ""
            is_open = [
                name
                for name, one in self.playback._responses.items()
                if not one.is_over
            ]
            before, began = len(self.sent), self.now
            self.step(step, made, last)
            is_cut = is_open if step == "speech" else last in is_open
            if step in ("clear", "cancel", "speech") and is_cut:
                # An earlier response may still be heard.
                cut_at = self.now if self.playback._current is None else -1.0
            elif step == "start":
                cut_at = -1.0
            elif cut_at >= 0.0 and began - cut_at < 0.2:
                stale.update(self.sent[before:])
            if step in ("clear", "speech", "cancel"):
                gone = made if step == "speech" else [last] if last else []
                for name in gone:
                    cut.setdefault(name, len(self.user.audio))
        self.wait(30.0)
        for name, at in cut.items():
            self.assertNotIn(name, [who for who, _ in self.user.audio[at:]])
        ends: list[Any] = [e for e in self.user.events if isinstance(e, ResponseDone)]
        self.assertEqual(sorted(e.response_id for e in ends), sorted(made))
        self.assertEqual(self.user.tokens, 7 * len(made))
        # In order, each once, and nothing that was not sent.
        heard = [frame for _, frame in self.user.audio]
        self.assertEqual(stale & set(heard) - {QUIET}, set())
        places = [self.sent.index(f) for f in heard if f != QUIET]
        self.assertEqual(places, sorted(set(places)))

    def step(self, step: str, made: list[str], last: str) -> None:
        if step == "make":
            made.append(f"r{len(made)}")
            self.made(made[-1])
        elif step == "start":
            self.came(PlaybackStarted(last))
        elif step == "stop":
            self.came(PlaybackStopped(last, is_cut=False))
        elif step == "clear":
            self.came(PlaybackStopped(last, is_cut=True))
        elif step == "speech":
            self.came(SpeechStarted(0, "u"))
        elif step == "cancel":
            self.playback.cancelled(last, self.now)
        elif step == "hear":
            self.hear(4)
        elif step == "quiet":
            self.hear(4, QUIET)
        else:
            self.wait(0.3)
