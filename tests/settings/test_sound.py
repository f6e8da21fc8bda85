"""A playable file is read unchanged; any other is an error of one line with its key."""

from __future__ import annotations

import io
import wave

from hypothesis import given, settings
from hypothesis import strategies as st

from chime_gateway.errors import ConfigError
from chime_gateway.settings.load import describe
from chime_gateway.settings.sound import MOST_APOLOGY_SECONDS, SPOKEN, TONE, read_sound
from tests.support.files import temporary_folder
from tests.support.settings import AZURE, ConfigTestCase

RATES = st.sampled_from([8000, 16000, 22050, 24000, 32000, 44100, 48000])


def wav(
    data: bytes = b"\x00\x10" * 800, rate: int = 8000, channels: int = 1, width: int = 2
) -> bytes:
    raw = io.BytesIO()
    with wave.open(raw, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(data)
    return raw.getvalue()


class SoundTests(ConfigTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = temporary_folder(self)

    def put(self, content: bytes, name: str = "a.wav") -> None:
        (self.folder / name).write_bytes(content)

    @settings(max_examples=60, deadline=None)
    @given(
        rate=RATES,
        channels=st.integers(1, 2),
        width=st.integers(1, 4),
        frames=st.integers(1, 500),
        spare=st.binary(max_size=3),
    )
    def test_the_sound_is_the_content_of_the_file(
        self, rate: int, channels: int, width: int, frames: int, spare: bytes
    ) -> None:
        data = bytes(n % 251 for n in range(frames * channels * width))
        self.put(wav(data, rate, channels, width) + spare)
        sound = read_sound(self.folder / "a.wav", "here", 15)
        self.assertEqual(sound.data, data)
        self.assertEqual(
            (sound.rate, sound.channels, sound.width), (rate, channels, width)
        )
        self.assertAlmostEqual(sound.seconds, frames / rate)

    @settings(max_examples=200, deadline=None)
    @given(
        at=st.integers(0, 60),
        change=st.binary(min_size=1, max_size=6),
        length=st.integers(0, 300),
    )
    def test_a_damaged_file_is_a_sound_or_an_error_of_one_line(
        self, at: int, change: bytes, length: int
    ) -> None:
        whole = wav(b"\x01\x02" * 100)
        self.put((whole[:at] + change + whole[at + len(change) :])[:length])
        try:
            sound = read_sound(self.folder / "a.wav", "agents.x.apology", 15)
        except ConfigError as exc:
            self.assertTrue(str(exc).startswith("agents.x.apology: "))
            self.assertNotIn("\n", str(exc))
        else:
            self.assertEqual(len(sound.data) % (sound.channels * sound.width), 0)
            self.assertLessEqual(sound.seconds, 15)

    def test_the_error_says_why_a_file_cannot_be_played(self) -> None:
        for content, *words in (
            (b"", "ends too early"),
            (b"no sound at all, and long enough for it", "WAV"),
            (wav().replace(b"\x01\x00\x01\x00", b"\x07\x00\x01\x00", 1), "format: 7"),
            (wav(b""), "no audio in it"),
            (wav(rate=11025), "11025", "44100"),
            (wav(b"\x00\x00" * 8000 * 16), "16.0 s", "15 s"),
            (wav(channels=3, data=b"\x00" * 600), "3 channels"),
            (b"\x00" * 8_000_001, "8 MB"),
        ):
            with self.subTest(words):
                self.put(content)
                with self.assertRaises(ConfigError) as raised:
                    read_sound(self.folder / "a.wav", "here", 15)
                for word in words:
                    self.assertIn(word, str(raised.exception))
        with self.assertRaises(ConfigError):
            read_sound(self.folder, "here", 15)

    def load_profile(self, toml: str) -> object:
        (self.folder / "gateway.toml").write_text(toml)
        path = str(self.folder / "gateway.toml")
        self.settings = self.load(AZURE, config_path=path)
        return self.settings.agents["default"]

    def profile(self, lines: str, more: str = "") -> object:
        return self.load_profile(f"{more}\n[agents.default]\n{lines}\n")

    def test_a_profile_has_its_sounds(self) -> None:
        self.put(wav(), "hold.WAV")
        self.put(wav(rate=16000), "sorry.wav")
        profile = self.profile('filler = "hold.WAV"\napology = "sorry.wav"')
        self.assertEqual(profile.filler_sound.rate, 8000)  # type: ignore[attr-defined]
        self.assertEqual(profile.apology_sound.rate, 16000)  # type: ignore[attr-defined]
        self.assertNotIn("\\x10", repr(describe(self.settings)))

    def test_the_default_apology_is_the_shipped_one(self) -> None:
        office = '[targets.office]\naddress = "+15559999"'
        for lines, more, name in (
            ("", "", "apology.wav"),
            ('apology = "spoken"', "", "apology.wav"),
            ('fallback = "office"', office, "apology-hold.wav"),
        ):
            with self.subTest(lines):
                profile = self.profile(lines, more)
                self.assertEqual(profile.apology, SPOKEN)  # type: ignore[attr-defined]
                sound = profile.apology_sound  # type: ignore[attr-defined]
                self.assertEqual((sound.name, sound.rate), (name, 8000))
                self.assertTrue(3 < sound.seconds < MOST_APOLOGY_SECONDS)
        nobody = self.load_profile("")
        self.assertEqual(nobody.apology, SPOKEN)  # type: ignore[attr-defined]

    def test_a_profile_may_have_no_apology_or_a_tone(self) -> None:
        for value in ("", TONE):
            profile = self.profile(f'apology = "{value}"\nfiller = "{value}"')
            self.assertEqual(profile.apology, value)  # type: ignore[attr-defined]
            self.assertIs(profile.apology_sound, None)  # type: ignore[attr-defined]
            self.assertIs(profile.filler_sound, None)  # type: ignore[attr-defined]

    def test_mistakes_are_named_by_their_key(self) -> None:
        self.put(wav(b"\x00\x00" * 8000 * 6), "long.wav")
        for lines, *words in (
            ('apology = "no.wav"', "agents.default.apology", "no.wav"),
            ('filler = "no.wav"', "agents.default.filler", "no.wav"),
            ('filler = "long.wav"', "agents.default.filler", "5 s"),
            ('apology = "Sorry!"', "agents.default.apology", "'Sorry!'", "tone"),
            ("apology = 5", "agents.default.apology", "a text"),
            ("filler = 5", "agents.default.filler", "a text"),
            ('apology_sound = {name = "x"}', "apology_sound"),
        ):
            with self.subTest(lines), self.assertRaises(ConfigError) as raised:
                self.profile(lines)
            for word in words:
                self.assertIn(word, str(raised.exception))
