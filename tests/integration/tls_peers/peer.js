// The other side of a WebSocket over TLS, on Node: the echo must be what was sent.
// Run as a program:
//
//     node peer.js ROLE VERSION PORT SCENARIO CERTIFICATE
//
// It prints the port if it listens, then the result of the scenario.
"use strict";
const crypto = require("crypto");
const fs = require("fs");
const tls = require("tls");

const [role, version, port, scenario, certificate] = process.argv.slice(2);
const isClient = role === "client";
const options = {
  minVersion: `TLSv${version}`,
  maxVersion: `TLSv${version}`,
  rejectUnauthorized: false,
};
let plain = Buffer.alloc(0);
let wake = () => {};
let isOver = false;

function frame(payload, first = 0x82) {
  const bit = isClient ? 0x80 : 0;
  let head;
  if (payload.length < 126) {
    head = Buffer.from([first, bit | payload.length]);
  } else if (payload.length < 65536) {
    head = Buffer.alloc(4);
    head.writeUInt8(first, 0);
    head.writeUInt8(bit | 126, 1);
    head.writeUInt16BE(payload.length, 2);
  } else {
    head = Buffer.alloc(10);
    head.writeUInt8(first, 0);
    head.writeUInt8(bit | 127, 1);
    head.writeBigUInt64BE(BigInt(payload.length), 2);
  }
  if (!isClient) return Buffer.concat([head, payload]);
  const key = crypto.randomBytes(4);
  return Buffer.concat([head, key, payload.map((byte, at) => byte ^ key[at % 4])]);
}

async function need(size) {
  while (plain.length < size) {
    if (isOver) throw new Error("the connection ended");
    await new Promise((resolve) => { wake = resolve; });
  }
}

async function nextFrame() {
  await need(2);
  let size = plain[1] & 0x7f;
  let start = 2;
  if (size >= 126) {
    start = size === 126 ? 4 : 10;
    await need(start);
    size = start === 4 ? plain.readUInt16BE(2) : Number(plain.readBigUInt64BE(2));
  }
  let key = Buffer.alloc(4);
  if (plain[1] & 0x80) {
    await need(start + 4);
    key = plain.subarray(start, start + 4);
    start += 4;
  }
  await need(start + size);
  const first = plain[0];
  const payload = plain.subarray(start, start + size).map((byte, at) => byte ^ key[at % 4]);
  plain = plain.subarray(start + size);
  return [first, payload];
}

async function expect(payloads) {
  for (const payload of payloads) {
    const [first, heard] = await nextFrame();
    if (first !== 0x82 || !heard.equals(payload)) throw new Error("another frame");
  }
}

async function run(socket) {
  socket.on("data", (data) => { plain = Buffer.concat([plain, data]); wake(); });
  socket.on("error", () => { isOver = true; wake(); });
  socket.on("close", () => { isOver = true; wake(); });
  if (isClient) {
    socket.write("GET /ws HTTP/1.1\r\nHost: gw.test\r\nUpgrade: websocket\r\n" +
      "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
  }
  while (!plain.includes("\r\n\r\n")) await need(plain.length + 1);
  const end = plain.indexOf("\r\n\r\n");
  const head = plain.subarray(0, end).toString();
  plain = plain.subarray(end + 4);
  if (!isClient) {
    const key = /sec-websocket-key: *(\S+)/i.exec(head)[1];
    const accept = crypto.createHash("sha1")
      .update(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest("base64");
    socket.write("HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n" +
      `Connection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
  }
  const media = [];
  for (let at = 0; at < 50; at++) media.push(Buffer.alloc(300, `${at}`));
  for (const payload of media) {
    socket.write(frame(payload));
    await expect([payload]);
  }
  const half = frame(Buffer.alloc(400, "half")).subarray(0, 200);
  if (scenario === "goodbye") {
    socket.write(half);
    socket.end();
    while (!isOver) await new Promise((resolve) => { wake = resolve; });
    return "answered";
  }
  if (scenario === "leave") {
    await new Promise((resolve) => { socket.write(half, resolve); });
    socket.destroy(); // without close_notify
    return "left";
  }
  const large = crypto.randomBytes(150000);
  socket.write(frame(large));
  await expect([large]);
  for (const byte of frame(media[1])) socket.write(Buffer.from([byte]));
  await expect([media[1]]);
  socket.cork();
  for (const payload of media) socket.write(frame(payload));
  socket.uncork();
  await expect(media);
  socket.pause();
  for (let at = 0; at < 200; at++) socket.write(frame(large.subarray(at, at + 10000)));
  await new Promise((resolve) => { socket.once("drain", resolve); });
  socket.resume();
  for (let at = 0; at < 200; at++) await expect([large.subarray(at, at + 10000)]);
  socket.write(frame(Buffer.from([3, 232]), 0x88));
  const [first] = await nextFrame();
  if (first !== 0x88) throw new Error("no close frame");
  return "echoed";
}

function began(socket) {
  run(socket).then(
    (said) => { console.log(said); socket.destroy(); process.exit(0); },
    (error) => { console.log(String(error)); process.exit(1); },
  );
}

if (isClient) {
  const socket = tls.connect({ port: Number(port), host: "127.0.0.1", ...options },
    () => began(socket));
} else {
  const pem = fs.readFileSync(certificate);
  const server = tls.createServer({ key: pem, cert: pem, ...options }, (socket) => {
    server.close();
    began(socket);
  });
  server.listen(0, "127.0.0.1", () => console.log(server.address().port));
}
