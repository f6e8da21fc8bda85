"""
A caller over the media stream (docs/reference/media-stream.md): plays a WAV file (mono,
16 bit; 8, 16 or 24 kHz) and records the answer.  It needs Autobahn, which the gateway
needs as well.

    python3 examples/media_stream_client.py in.wav ws://127.0.0.1:8080/stream out.wav
"""

import base64
import json
import os
import sys
import wave

from autobahn.twisted.websocket import WebSocketClientFactory as Factory
from autobahn.twisted.websocket import WebSocketClientProtocol, connectWS
from twisted.internet import reactor, task

with wave.open(sys.argv[1]) as question:
    RATE, SAID = question.getframerate(), question.readframes(question.getnframes())
FRAME = RATE // 50 * 2  # 20 ms, two bytes a sample


class Caller(WebSocketClientProtocol):
    def onOpen(self):
        self.said, self.heard, self.quiet = SAID, b"", 0
        self.queue = []  # the playout buffer: frames of audio, and names of marks
        layout = {"encoding": "audio/x-l16", "sampleRate": RATE, "channels": 1}
        start = {"callSid": "C1", "mediaFormat": layout}
        self.tell("start", streamSid="S1", start=start)
        self.beat = task.LoopingCall(self.tick)
        self.beat.start(0.02)

    def tell(self, event, **members):
        self.sendMessage(json.dumps({"event": event, **members}).encode())

    def tick(self):
        if self.state != self.STATE_OPEN:
            return
        frame, self.said = self.said[:FRAME].ljust(FRAME, b"\0"), self.said[FRAME:]
        self.tell("media", media={"payload": base64.b64encode(frame).decode()})
        while self.queue and isinstance(self.queue[0], str):
            # All audio before the mark has been played.
            self.tell("mark", mark={"name": self.queue.pop(0)})
        self.quiet = 0 if self.queue or self.said else self.quiet + 1
        self.heard += self.queue.pop(0) if self.queue else b"\0" * FRAME
        if self.quiet > 150:  # 3 s of silence on both sides
            self.tell("stop")
            self.sendClose(1000)

    def onMessage(self, payload, isBinary):
        message = json.loads(payload)
        if message["event"] == "media":
            audio = base64.b64decode(message["media"]["payload"])
            self.queue += [audio[at : at + FRAME] for at in range(0, len(audio), FRAME)]
        elif message["event"] == "mark":
            self.queue.append(message["mark"]["name"])
        elif message["event"] == "clear":  # the caller interrupts: fall silent at once
            self.queue = [one for one in self.queue if isinstance(one, str)]

    def onClose(self, was_clean, code, reason):
        print(f"closed: {code} {reason or ''}")
        if hasattr(self, "beat"):
            self.beat.stop()
            with wave.open(sys.argv[3], "wb") as out:
                out.setparams((1, 2, RATE, 0, "NONE", ""))
                out.writeframes(self.heard)
        reactor.stop()


secret = os.environ.get("CHIMEGW_SHARED_SECRET", "")
factory = Factory(sys.argv[2], headers={"Authorization": f"Bearer {secret}"})
factory.protocol = Caller
connectWS(factory)
reactor.run()
