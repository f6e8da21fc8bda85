from __future__ import annotations

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.cli.main import Options as CliOptions


class CliTests(SynchronousTestCase):
    def refused(self, *words: str) -> str:
        options = CliOptions()
        return str(self.assertRaises(usage.UsageError, options.parseOptions, words))

    def test_mistakes_are_named(self) -> None:
        for words, name in (
            ([], "a command is missing"),
            (["cals"], "'cals': there is no such command; did you mean calls?"),
            (["xyzzy"], "--help lists the commands"),
            (["call", "x.wav"], "--to"),
            (["call", "x.wav", "--to", "ftp://x"], "ws://"),
            (["call", "--to", "sip:a@x:5061;transport=tls"], "TLS"),
            (["call", "x.wav", "--to", "ws://x", "--codec", "mp3"], "codec"),
            (["demo", "--agent", "human"], "--agent human"),
            (["demo", "--path", "/x"], "--path /x"),
            (["demo", "--transport", "pigeon"], "--transport pigeon"),
            (["simulate-azure", "--voice", "tenor"], "--voice tenor"),
            (["simulate-azure", "--voice", "prompt:/no.wav"], "/no.wav"),
            (["simulate-azure", "--fault", "gremlins"], "gremlins"),
            (["simulate-azure", "--fault", "response=lost"], "response"),
            (["simulate-azure", "--refuse", "loudly"], "--refuse loudly"),
            (["simulate-azure", "--refuse", "-1"], "--refuse -1"),
            (["simulate-azure", "--refuse-which", "x"], "--refuse-which"),
            (["simulate-azure", "--fault", "speed=fast"], "speed"),
            (["simulate-azure", "--fault", "transcription=1"], "transcription"),
        ):
            with self.subTest(words=words):
                self.assertIn(name, self.refused(*words))

    def test_names_may_stand_anywhere_among_the_options(self) -> None:
        for words in (
            ["a.wav", "b.wav", "--greeting", "--to", "ws://x", "-c", "PCMA"],
            ["--greeting", "a.wav", "--to=ws://x", "b.wav", "-cPCMA"],
            ["-g", "-t", "ws://x", "--codec", "PCMA", "--agent", "", "a.wav", "b.wav"],
        ):
            with self.subTest(words=words):
                options = CliOptions()
                options.parseOptions(["call", *words])
                call = options.subOptions
                self.assertEqual(call["wavs"], ("a.wav", "b.wav"))
                self.assertEqual((call["to"], call["codec"]), ("ws://x", "PCMA"))
                self.assertTrue(call["greeting"])
