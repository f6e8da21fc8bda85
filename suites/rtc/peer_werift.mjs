// werift, controlled by lines of JSON (see peers.py): node peer_werift.mjs
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const { MediaStreamTrack, RTCPeerConnection, RTCRtpCodecParameters, RtpHeader, RtpPacket } =
  createRequire(import.meta.url)("werift");

const FRAME = 160;
const PTIME_MS = 20;

const CODECS = [
  { mimeType: "audio/PCMU", payloadType: 0, clockRate: 8000, channels: 1 },
  { mimeType: "audio/telephone-event", payloadType: 101, clockRate: 8000, channels: 1 },
];

// ITU-T G.711.
function coded(sample) {
  const sign = sample < 0 ? 0x80 : 0;
  const magnitude = Math.min(Math.abs(sample), 32635) + 132;
  const exponent = Math.floor(Math.log2(magnitude)) - 7;
  return ~(sign | (exponent << 4) | ((magnitude >> (exponent + 3)) & 15)) & 255;
}

function expanded(byte) {
  const value = ~byte & 255;
  const magnitude = ((((value & 15) << 3) + 132) << ((value >> 4) & 7)) - 132;
  return value & 0x80 ? -magnitude : magnitude;
}

class Call {
  constructor({ audio, tcp }) {
    this.isEcho = audio === undefined;
    this.heard = [];
    this.connection = new RTCPeerConnection({
      codecs: { audio: CODECS.map((codec) => new RTCRtpCodecParameters(codec)) },
      iceAdditionalHostAddresses: ["127.0.0.1"],
      iceUseIpv6: false,
      iceUseTcp: Boolean(tcp),
      iceServers: [],
    });
    this.number = Math.floor(Math.random() * 32768);
    this.timestamp = Math.floor(Math.random() * 2 ** 31);
    this.track = new MediaStreamTrack({ kind: "audio" });
    this.connection.onTrack.subscribe((track) =>
      track.onReceiveRtp.subscribe((packet) => this.came(packet)),
    );
    if (!this.isEcho) this.say(audio);
  }

  came(packet) {
    if (packet.header.payloadType !== 0) return;
    this.heard.push(Buffer.from(packet.payload));
    if (this.isEcho) this.send(packet.payload);
  }

  send(payload, type = 0, marker = false, timestamp = undefined) {
    this.number = (this.number + 1) & 0xffff;
    if (timestamp === undefined) timestamp = this.timestamp = (this.timestamp + FRAME) >>> 0;
    const header = new RtpHeader({
      version: 2,
      payloadType: type,
      sequenceNumber: this.number,
      timestamp,
      ssrc: 1,
      marker,
    });
    const packet = new RtpPacket(header, Buffer.from(payload));
    return this.sender ? this.sender.sendRtp(packet).catch(() => {}) : undefined;
  }

  say(text) {
    const bytes = Buffer.from(text, "base64");
    const samples = new Int16Array(bytes.length / 2).map((_, n) => bytes.readInt16LE(2 * n));
    this.audio = Buffer.from(Uint8Array.from(samples, coded));
    this.at = 0;
    if (this.timer) return;
    this.due = performance.now();
    this.timer = setInterval(() => {
      while (this.due <= performance.now()) {
        this.due += PTIME_MS;
        const part = this.audio.subarray(this.at, this.at + FRAME);
        this.at += FRAME;
        this.send(Buffer.concat([part, Buffer.alloc(FRAME - part.length, 255)]));
      }
    }, 5);
  }

  async gathered() {
    const connection = this.connection;
    while (connection.iceGatheringState !== "complete")
      await new Promise((done) => setTimeout(done, 5));
    return connection.localDescription.sdp;
  }

  async offer() {
    this.sender = this.connection.addTransceiver(this.track, { direction: "sendrecv" }).sender;
    await this.connection.setLocalDescription(await this.connection.createOffer());
    return this.gathered();
  }

  async accept(sdp) {
    await this.connection.setRemoteDescription({ type: "answer", sdp });
  }

  async answer(sdp) {
    await this.connection.setRemoteDescription({ type: "offer", sdp });
    const [transceiver] = this.connection.getTransceivers();
    transceiver.setDirection("sendrecv");
    this.sender = transceiver.sender;
    await this.sender.replaceTrack(this.track);
    await this.connection.setLocalDescription(await this.connection.createAnswer());
    return this.gathered();
  }

  async keys(digits) {
    for (const digit of digits) {
      const event = "0123456789*#ABCD".indexOf(digit);
      const timestamp = (this.timestamp + FRAME) >>> 0;
      for (let n = 1; n < 9; n++) {
        const body = Buffer.from([event, n > 5 ? 0x8a : 0x0a, 0, 0]);
        body.writeUInt16BE(FRAME * Math.min(n, 6), 2);
        await this.send(body, 101, n === 1, timestamp);
        if (n <= 5) await new Promise((done) => setTimeout(done, PTIME_MS));
      }
      await new Promise((done) => setTimeout(done, 100));
    }
  }

  recording() {
    const bytes = Buffer.concat(this.heard);
    const made = Buffer.alloc(2 * bytes.length);
    bytes.forEach((byte, n) => made.writeInt16LE(expanded(byte), 2 * n));
    return made.toString("base64");
  }

  async close() {
    clearInterval(this.timer);
    await this.connection.close();
  }
}

const calls = new Map();

const actions = {
  ready: () => "werift",
  offer: (asked) => {
    const call = new Call(asked);
    calls.set(asked.call, call);
    return call.offer();
  },
  answer: (asked) => {
    const call = new Call(asked);
    calls.set(asked.call, call);
    return call.answer(asked.sdp);
  },
  accept: (asked) => calls.get(asked.call).accept(asked.sdp),
  heard: (asked) => calls.get(asked.call).recording(),
  state: (asked) => calls.get(asked.call).connection.connectionState,
  keys: (asked) => calls.get(asked.call).keys(asked.digits),
  say: (asked) => calls.get(asked.call).say(asked.audio),
  close: (asked) => calls.get(asked.call).close(),
};

const lines = createInterface({ input: process.stdin });
// Open sockets would keep the process alive.
lines.on("close", () => process.exit());
lines.on("line", async (line) => {
  const asked = JSON.parse(line);
  const answer = { id: asked.id };
  try {
    answer.value = (await actions[asked.do](asked)) ?? null;
  } catch (error) {
    answer.error = String(error?.stack ?? error);
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
});
