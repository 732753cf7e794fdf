import type { ServerResponse } from "node:http";
import { HttpError, type HttpRequest } from "./http-router.js";
import { sendJson } from "./http-server.js";
import type { KafkaStreams } from "./streams.js";

/** Says that a request was passed on once: whoever gets it answers for itself. Two instances that each think the other has the key would send it to and fro. */
const FORWARDED = "x-millrace-forwarded";
const FORWARD_TIMEOUT_MS = 2_000;
const ANSWER_BYTES_MAX = 16 * 1024 * 1024;

/**
 * Passes a question about a key on to the instance that has it, and its answer back. True when it did; false when the key
 * is here, or nobody knows where else.
 */
export async function forwarded(
  streams: KafkaStreams,
  request: HttpRequest,
  response: ServerResponse,
  { token, key }: { readonly token: string | undefined; readonly key: unknown },
): Promise<boolean> {
  if (request.headers[FORWARDED] !== undefined) return false;
  const { isHere, server } = streams.ownerOf(request.parameters.store ?? "", key);
  if (isHere || server === undefined || server === streams.applicationServer) return false;
  const query = request.query.size === 0 ? "" : `?${request.query.toString()}`;
  // Made of what was understood, not of what was sent: no more than a key's name comes from the asker.
  const parts = ["stores", request.parameters.store ?? "", "keys", request.parameters.key ?? ""];
  const url = `${server.replace(/\/$/, "")}/${parts.map(encodeURIComponent).join("/")}${query}`;
  try {
    const answer = await fetch(url, {
      headers: { [FORWARDED]: "1", ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) },
      redirect: "error",
      signal: AbortSignal.timeout(FORWARD_TIMEOUT_MS),
    });
    const text = await answer.text();
    if (text.length > ANSWER_BYTES_MAX) throw new RangeError(`its answer has ${text.length} characters`);
    response.setHeader("x-millrace-instance", server);
    sendJson(response, answer.status, JSON.parse(text) as unknown);
    return true;
  } catch (error) {
    const reason = error instanceof Error ? `${error.message}${causeOf(error)}` : String(error);
    const message = `the key is on ${server}, which cannot be asked (${reason}): ask it, or again soon`;
    throw new HttpError(502, "OWNER_UNREACHABLE", message, { "retry-after": "1" });
  }
}

function causeOf({ cause }: Error): string {
  return cause instanceof Error ? `: ${cause.message}` : "";
}
