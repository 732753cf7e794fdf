// Open pages, as far as the server can tell: sockets that are read and forgotten. Started by page-cost.ts with PORT and COUNT, and told over
// its IPC channel: on "open" it opens so many pages, and says "open" once all of them have the whole picture; on "close" it ends them, and says "closed".
import { connect, type Socket } from "node:net";

const [port = "", count = "1"] = process.argv.slice(2);
/** All of them read into the same bytes: nothing is kept, and nothing is allocated. */
const buffer = Buffer.alloc(64 * 1024);
/** A refusal would cost the server next to nothing, and look like an open page. */
const OK = Buffer.from("HTTP/1.1 200 ");
let pages: Promise<Socket>[] = [];

function openPage(): Promise<Socket> {
  return new Promise((resolve, reject) => {
    let isFirst = true;
    const callback = (bytes: number): boolean => {
      if (!isFirst) return true;
      isFirst = false;
      const answer = buffer.subarray(0, bytes);
      if (answer.subarray(0, OK.byteLength).equals(OK)) resolve(socket);
      else reject(new Error(answer.toString("utf8")));
      return true;
    };
    const socket = connect({ host: "127.0.0.1", port: Number(port), onread: { buffer, callback } });
    socket.on("error", reject);
    socket.write(`GET /events HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`);
  });
}

process.on("message", async (command) => {
  if (command === "open") {
    pages = Array.from({ length: Number(count) }, openPage);
    await Promise.all(pages);
    process.send?.("open");
  } else {
    for (const page of pages) (await page).destroy();
    process.send?.("closed");
  }
});
process.on("disconnect", () => process.exit());
