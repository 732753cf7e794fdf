// node --import tsx bench/page-readers.ts URL COUNT: that many open pages, as far as the server can tell. Prints `open` once all of them have heard it.
import { get } from "node:http";

const [url = "", count = "1"] = process.argv.slice(2);
let heard = 0;
for (let at = 0; at < Number(count); at++) {
  get(`${url}events`, { agent: false }, (response) => {
    response.once("data", () => {
      heard++;
      if (heard === Number(count)) process.stdout.write("open\n");
    });
    response.resume();
  });
}
