// node --import tsx bench/page-readers.ts PORT COUNT: that many open pages, as far as the server can tell: sockets that are read and forgotten.
// Prints `open` once all of them have the whole picture.
import { connect } from "node:net";

const [port = "", count = "1"] = process.argv.slice(2);
/** All of them read into the same bytes: nothing is kept, and nothing is allocated. */
const buffer = Buffer.alloc(64 * 1024);
/** A refusal would cost the server next to nothing, and look like an open page. */
const OK = Buffer.from("HTTP/1.1 200 ");
let open = 0;

for (let at = 0; at < Number(count); at++) {
  let isFirst = true;
  const callback = (bytes: number): boolean => {
    if (!isFirst) return true;
    isFirst = false;
    const answer = buffer.subarray(0, bytes);
    if (!answer.subarray(0, OK.byteLength).equals(OK)) throw new Error(answer.toString("utf8"));
    if (++open === Number(count)) process.stdout.write("open\n");
    return true;
  };
  const socket = connect({ host: "127.0.0.1", port: Number(port), onread: { buffer, callback } });
  socket.write(`GET /events HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`);
}
