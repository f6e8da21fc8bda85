// A minimal relay between a media stream and a Realtime service, in the style of a
// sample application: parse, copy the payload, stringify.
//
//     node relay_node.js PORT AGENT_URL [CHAIN KEY]
//
// With a certificate chain and its key, callers connect over TLS.  NODE_EXTRA_CA_CERTS
// has the trusted authority for a wss: URL.
const { readFileSync } = require("fs");
const http = require("http");
const https = require("https");
const { WebSocketServer, WebSocket } = require("ws");
const [port, agentUrl, chain, key] = process.argv.slice(2);

const server = chain
  ? https.createServer({ cert: readFileSync(chain), key: readFileSync(key) })
  : http.createServer();
server.listen(Number(port), "127.0.0.1", () => console.log("listening"));

new WebSocketServer({ server, perMessageDeflate: false }).on(
  "connection",
  (carrier) => {
    const agent = new WebSocket(agentUrl, {
      headers: { "api-key": "benchmark" },
      perMessageDeflate: false,
    });
    let streamSid = "";
    carrier.on("message", (data) => {
      const message = JSON.parse(data);
      if (message.event === "media" && agent.readyState === WebSocket.OPEN) {
        const audio = message.media.payload;
        agent.send(JSON.stringify({ type: "input_audio_buffer.append", audio }));
      } else if (message.event === "start") {
        streamSid = message.start.streamSid;
      }
    });
    agent.on("open", () => {
      const session = { type: "realtime" };
      agent.send(JSON.stringify({ type: "session.update", session }));
    });
    agent.on("message", (data) => {
      const message = JSON.parse(data);
      if (message.type === "response.output_audio.delta") {
        const media = { payload: message.delta };
        carrier.send(JSON.stringify({ event: "media", streamSid, media }));
      }
    });
    carrier.on("close", () => agent.close());
    agent.on("close", () => carrier.close());
    agent.on("error", () => carrier.close());
  },
);
