/** HTTP/2 by hand (RFC 9113), for clients that do what no library would. */

const [DATA, HEADERS, SETTINGS, PING, WINDOW_UPDATE] = [0, 1, 4, 6, 8];
const [END_STREAM, END_HEADERS] = [1, 4];
const INITIAL_WINDOW_SIZE = 4;
const MAX_WINDOW_BYTES = 0x7fffffff;
const FIRST_WINDOW_BYTES = 65_535;
const MAX_FRAME_BYTES = 16_384;

export const PREFACE = Buffer.concat([
  Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
  frame(SETTINGS, 0, 0),
]);
export const PING_FRAME = frame(PING, 0, 0, Buffer.alloc(8));

/** As PREFACE, of a client that lets the server send as much as it likes. */
export const GREEDY_PREFACE = ((): Buffer => {
  const [setting, more] = [Buffer.alloc(6), Buffer.alloc(4)];
  setting.writeUInt16BE(INITIAL_WINDOW_SIZE, 0);
  setting.writeUInt32BE(MAX_WINDOW_BYTES, 2);
  more.writeUInt32BE(MAX_WINDOW_BYTES - FIRST_WINDOW_BYTES);
  return Buffer.concat([PREFACE, frame(SETTINGS, 0, 0, setting), frame(WINDOW_UPDATE, 0, 0, more)]);
})();

/** A gRPC call with its first message; `stream` is odd and grows. `isLast`: there are no more. */
export function callFrames(stream: number, path: string, message: Buffer, isLast = true): Buffer {
  const fields = {
    ":method": "POST",
    ":scheme": "http",
    ":path": path,
    ":authority": "raftkv",
    "content-type": "application/grpc",
    te: "trailers",
  };
  const block = Object.entries(fields).flatMap(([name, value]) => [
    Buffer.from([0]),
    text(name),
    text(value),
  ]);
  return Buffer.concat([
    frame(HEADERS, END_HEADERS, stream, Buffer.concat(block)),
    messageFrames(stream, message, isLast),
  ]);
}

function messageFrames(stream: number, message: Buffer, isLast: boolean): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  const bytes = Buffer.concat([prefix, message]);
  const frames: Buffer[] = [];
  for (let from = 0; from < bytes.length; from += MAX_FRAME_BYTES) {
    const flags = isLast && from + MAX_FRAME_BYTES >= bytes.length ? END_STREAM : 0;
    frames.push(frame(DATA, flags, stream, bytes.subarray(from, from + MAX_FRAME_BYTES)));
  }
  return Buffer.concat(frames);
}

function frame(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(payload.length, 0, 3);
  header.writeUInt8(type, 3);
  header.writeUInt8(flags, 4);
  header.writeUInt32BE(stream, 5);
  return Buffer.concat([header, payload]);
}

/** Shorter than 127 bytes; not Huffman-coded. */
function text(value: string): Buffer {
  return Buffer.concat([Buffer.from([value.length]), Buffer.from(value)]);
}
