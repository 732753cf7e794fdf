import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

/** tsx does nothing in a worker of Node 20 by `--import tsx`: it has to be registered there. */
const required = pathToFileURL(createRequire(import.meta.url).resolve("tsx/esm/api"));
const tsx = new URL("index.mjs", required).href;

/** What a worker thread needs to load these sources as they are: the tests run without a build. */
export const TYPESCRIPT_THREADS: readonly string[] = [
  "--import",
  `data:text/javascript,${encodeURIComponent(`import { register } from ${JSON.stringify(tsx)}; register();`)}`,
];
