import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export interface Asset {
  readonly contentType: string;
  readonly body: Buffer;
}

const HTML = "text/html; charset=utf-8";
const CSS = "text/css; charset=utf-8";
const SCRIPT = "text/javascript; charset=utf-8";

const MODULES = [
  ...["main", "connection", "document", "format", "graph-view", "lookup-view", "overflow", "plots", "staleness"],
  "tables",
] as const;

/** Every file there is, by its path in the address, with where it lies. Nothing else is ever read from disk. */
const FILES: Readonly<Record<string, readonly [file: string, contentType: string]>> = {
  "/": ["page/index.html", HTML],
  "/dashboard/page.css": ["page/page.css", CSS],
  "/dashboard/icon.svg": ["page/icon.svg", "image/svg+xml"],
  "/dashboard/uPlot.iife.min.js": ["page/uPlot.iife.min.js", SCRIPT],
  "/dashboard/uPlot.min.css": ["page/uPlot.min.css", CSS],
  "/dashboard/messages.js": ["messages.js", SCRIPT],
  ...Object.fromEntries(MODULES.map((name) => [`/dashboard/page/${name}.js`, [`page/${name}.js`, SCRIPT] as const])),
};

export const ASSET_PATHS = Object.keys(FILES);

/** The page's files, read when they are first asked for. */
export class Assets {
  readonly #read = new Map<string, Asset>();

  /** @param path one of `ASSET_PATHS` */
  read(path: string): Asset {
    const known = this.#read.get(path);
    if (known !== undefined) return known;
    const [file, contentType] = FILES[path] as readonly [string, string];
    const asset = { contentType, body: readFileSync(fileURLToPath(new URL(file, import.meta.url))) };
    this.#read.set(path, asset);
    return asset;
  }
}

/** Nothing is loaded from elsewhere, nothing runs but our own files, and nobody frames the page. */
export const SECURITY_HEADERS = {
  "content-security-policy": [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
  ].join("; "),
} as const;
