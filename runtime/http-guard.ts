import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { BlockList, isIP } from "node:net";
import { HttpError } from "./http-router.js";

/** What a client has to show: as `Authorization: Bearer <token>`, or as the password of a Basic login, which is what a browser asks for. */
const CHALLENGES = [
  // A header line each: Chromium reads one challenge per line, and with Bearer in front it would never ask.
  'Basic realm="millrace (the password is the token)", charset="UTF-8"',
  'Bearer realm="millrace"',
];

/** `none`: typed by the user, or a bookmark. */
const OWN_SITES: ReadonlySet<unknown> = new Set(["same-origin", "none"]);

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet("127.0.0.0", 8, "ipv4");
LOOPBACK.addAddress("::1", "ipv6");

export interface HttpGuardOptions {
  /** The address that the server listens on. */
  readonly host: string;
  readonly token: string | undefined;
}

/**
 * Who is let in. With a token: who has it. Without one, on a loopback address, whoever is on this machine and asks for
 * it: a web page that a browser here has open may send requests to us, but not with a name of ours in `Host` (DNS
 * rebinding), nor without saying that it comes from another site.
 */
export class HttpGuard {
  readonly #digest: Buffer | undefined;
  readonly #isOnLoopback: boolean;

  constructor({ host, token }: HttpGuardOptions) {
    this.#digest = token === undefined ? undefined : digestOf(token);
    this.#isOnLoopback = isLoopback(host);
  }

  /** @throws HttpError 401 or 403 */
  check(headers: IncomingHttpHeaders, { isOpen }: { readonly isOpen: boolean }): void {
    // Probes say no more than whether it works, and a kubelet has no token.
    if (isOpen) return;
    this.#checkSite(headers);
    if (this.#digest !== undefined) this.#checkToken(headers.authorization, this.#digest);
    else if (this.#isOnLoopback && !isLoopback(hostNameOf(headers.host ?? ""))) {
      const message =
        "this server is for its own machine, and the Host header names another: ask for localhost or 127.0.0.1, or set a token";
      throw new HttpError(403, "FOREIGN_HOST", message);
    }
  }

  /** Browsers say from where a request comes: in Sec-Fetch-Site, the old ones in Origin alone. Programs send neither. */
  #checkSite(headers: IncomingHttpHeaders): void {
    const { origin, host } = headers;
    const site = headers["sec-fetch-site"];
    // A link that leads here from elsewhere is fine: it opens in a tab of its own, and the other page sees nothing of it.
    const isLink = headers["sec-fetch-dest"] === "document" && origin === undefined;
    const isOwn =
      site === undefined ? origin === undefined || origin.replace(/^https?:\/\//, "") === host : OWN_SITES.has(site);
    if (!isOwn && !isLink) throw new HttpError(403, "FOREIGN_ORIGIN", "a page of another site may not ask this server");
  }

  #checkToken(authorization: string | undefined, digest: Buffer): void {
    const given = tokenOf(authorization ?? "");
    // Digests have one length, and their comparison takes one time, whatever was sent.
    if (given !== undefined && timingSafeEqual(digestOf(given), digest)) return;
    const message =
      given === undefined
        ? "a token is needed: Authorization: Bearer <token>, or the token as the password of a Basic login"
        : "the token is not the right one";
    throw new HttpError(401, "UNAUTHORIZED", message, { "www-authenticate": CHALLENGES });
  }
}

/** `localhost`, and addresses that only this machine reaches. */
export function isLoopback(host: string): boolean {
  const name = host.replace(/^\[(.*)\]$/, "$1").toLowerCase();
  const family = isIP(name);
  if (family === 0) return name === "localhost" || name.endsWith(".localhost");
  return LOOPBACK.check(name, family === 6 ? "ipv6" : "ipv4");
}

/** Without its port. */
function hostNameOf(header: string): string {
  return header.replace(/:\d*$/, "");
}

function tokenOf(authorization: string): string | undefined {
  const [, scheme = "", credentials = ""] = /^(\S+) +(\S+) *$/.exec(authorization) ?? [];
  if (scheme.toLowerCase() === "bearer") return credentials;
  if (scheme.toLowerCase() !== "basic") return undefined;
  const login = Buffer.from(credentials, "base64").toString("utf8");
  return login.includes(":") ? login.slice(login.indexOf(":") + 1) : undefined;
}

function digestOf(token: string): Buffer {
  return createHash("sha256").update(token, "utf8").digest();
}
