// A minimal relay between a media stream and a Realtime service, as a sample
// application would write it: parse, copy the payload, stringify.
const { WebSocketServer, WebSocket } = require("ws");
const [port, agentUrl] = process.argv.slice(2);

const options = { port: Number(port), host: "127.0.0.1", perMessageDeflate: false };
new WebSocketServer(options, () => console.log("listening")).on(
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
