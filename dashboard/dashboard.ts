import { randomUUID } from "node:crypto";
import type { ServerResponse } from "node:http";
import { HttpError, type HttpRequest, type HttpRoute } from "../runtime/http-router.js";
import { sendJson } from "../runtime/http-server.js";
import { TopicNames } from "../runtime/internal-topics.js";
import { type Logger, silentLogger } from "../runtime/logger.js";
import type { KafkaStreams } from "../runtime/streams.js";
import type { ProcessorTopology } from "../topology/processor-topology.js";
import { ASSET_PATHS, Assets, SECURITY_HEADERS } from "./assets.js";
import { EventStream, eventOf } from "./event-stream.js";
import { graphOf, type TopologyGraph } from "./graph.js";
import { PointHistory } from "./history.js";
import type { Hello, Snapshot } from "./messages.js";
import { answerLookup, LOOKUP_CHARACTERS_MAX, type Lookup, type Panel, PanelReader } from "./panels.js";
import { type SampledStreams, Sampler } from "./sampler.js";

export interface DashboardOptions {
  readonly topology: ProcessorTopology;
  readonly applicationId: string;
  /** What stands at the top of the page; by default the application id. */
  readonly title?: string;
  /** Tables of the application's own. */
  readonly panels?: readonly Panel[];
  /** Questions that the page can ask. */
  readonly lookups?: readonly Lookup[];
  readonly logger?: Logger;
  /** Pages open at the same time, 100 by default. */
  readonly pagesMax?: number;
}

/** What the page looks at; `KafkaStreams` is one. */
export type WatchedStreams = SampledStreams & Pick<KafkaStreams, "onStateChange">;

const PAGES_MAX = 100;
const STALLED_MAX_MS = 15_000;
const POINTS_MAX = 600;
const TICK_MS = 1_000;
/** Restoring is over within a second or two: somebody who looks should see it move. */
const BUSY_TICK_MS = 250;

/**
 * A page on a running topology: its graph with live rates, plots, tasks, stores, and what the application adds. It is
 * a set of routes for the HTTP server that is there anyway. One picture is taken each second and sent to all open pages; how
 * many there are changes nothing else.
 */
export class Dashboard {
  readonly #options: DashboardOptions;
  readonly #logger: Logger;
  readonly #graph: TopologyGraph;
  readonly #sampler: Sampler;
  readonly #events: EventStream;
  readonly #history = new PointHistory(POINTS_MAX);
  readonly #assets = new Assets();
  readonly #panels: readonly PanelReader[];
  readonly #processId = randomUUID();
  readonly #startedAtMs = Date.now();
  readonly #stopListening: () => void;
  #last: Snapshot | undefined;
  /** `#last` with all that a page needs which has nothing yet, once somebody has asked for it. */
  #lastWhole: Buffer | undefined;
  #lastPointMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #ticking: Promise<void> | undefined;
  #isClosed = false;

  constructor(streams: WatchedStreams, options: DashboardOptions) {
    const { topology, applicationId, pagesMax = PAGES_MAX } = options;
    const names = new TopicNames(applicationId);
    this.#options = options;
    this.#logger = options.logger ?? silentLogger;
    this.#graph = graphOf(topology, (ref) => names.of(ref));
    const stores = topology.subTopologies.flatMap((sub) => sub.stores);
    this.#sampler = new Sampler({
      streams,
      meters: this.#graph.meters,
      stores: stores.map(({ name, changelog }) => ({ name, changelog: changelog ? names.changelog(name) : undefined })),
    });
    this.#events = new EventStream({ pagesMax, stalledMaxMs: STALLED_MAX_MS });
    this.#panels = (options.panels ?? []).map((panel) => new PanelReader(panel));
    this.#stopListening = streams.onStateChange(() => this.#tickSoon(0));
    this.#tickSoon(0);
  }

  /** Pages that are open now. */
  get pages(): number {
    return this.#events.pages;
  }

  /** `/` and the page's files, `/events` and `/lookup`: for the `routes` of `run`'s HTTP options. */
  get routes(): readonly HttpRoute[] {
    const secured = (response: ServerResponse): void => {
      for (const [name, value] of Object.entries(SECURITY_HEADERS)) response.setHeader(name, value);
    };
    const files = ASSET_PATHS.map((path): HttpRoute => {
      const handle = (_: HttpRequest, response: ServerResponse): void => {
        secured(response);
        const { contentType, body } = this.#assets.read(path);
        response.writeHead(200, { "content-type": contentType, "content-length": body.byteLength });
        response.end(body);
      };
      return { method: "GET", path, handle };
    });
    return [
      ...files,
      { method: "GET", path: "/events", handle: (request, response) => this.#open(request, response) },
      { method: "GET", path: "/lookup", handle: ({ query }, response) => this.#lookUp(query, response) },
    ];
  }

  /** Ends all streams, and reads nothing more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#stopListening();
    clearTimeout(this.#timer);
    this.#events.close();
    await this.#ticking;
    for (const { panel } of this.#panels) await panel.close?.();
  }

  async #open(request: HttpRequest, response: ServerResponse): Promise<void> {
    if (this.#last === undefined) await this.#tick();
    if (request.method === "HEAD" || this.#last === undefined || this.#isClosed || response.destroyed) response.end();
    else if (this.#events.open(response, this.#whole(this.#last)) && this.#events.pages === 1) this.#tickSoon(0);
  }

  async #lookUp(query: URLSearchParams, response: ServerResponse): Promise<void> {
    const lookup = this.#options.lookups?.find(({ name }) => name === query.get("name"));
    const text = query.get("text")?.trim() ?? "";
    if (lookup === undefined) throw new HttpError(404, "NO_SUCH_LOOKUP", "there is no such look-up");
    if (text === "" || text.length > LOOKUP_CHARACTERS_MAX) {
      const message = `say what to look for, in at most ${LOOKUP_CHARACTERS_MAX} characters`;
      throw new HttpError(400, "BAD_LOOKUP", message);
    }
    sendJson(response, 200, await answerLookup(lookup, text));
  }

  #tickSoon(inMs: number): void {
    clearTimeout(this.#timer);
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => void this.#tick(), inMs);
    // A page must not keep a process alive that has nothing else to do.
    this.#timer.unref();
  }

  /** One at a time: whoever asks meanwhile gets the one that is under way. */
  #tick(): Promise<void> {
    this.#ticking ??= this.#takePicture().finally(() => {
      this.#ticking = undefined;
      const isBusy = this.#last?.state !== "RUNNING" && this.#events.pages > 0;
      this.#tickSoon(isBusy ? BUSY_TICK_MS : TICK_MS);
    });
    return this.#ticking;
  }

  async #takePicture(): Promise<void> {
    try {
      const nowMs = Date.now();
      if (this.#events.pages > 0) for (const panel of this.#panels) panel.refresh(nowMs);
      const { point, ...sample } = await this.#sampler.sample(nowMs);
      // Busy ticks come sooner than the plots' points: their distance in time stays even.
      const isNewPoint = nowMs - this.#lastPointMs >= TICK_MS - BUSY_TICK_MS / 2;
      if (isNewPoint) {
        this.#history.add(point);
        this.#lastPointMs = nowMs;
      }
      const panels = this.#panels.map(({ data }) => data);
      const snapshot: Snapshot = { ...sample, point: isNewPoint ? point : null, panels };
      this.#last = snapshot;
      this.#lastWhole = undefined;
      if (this.#events.pages === 0) return;
      const update = eventOf("snapshot", snapshot);
      this.#events.broadcast({ update, whole: () => this.#whole(snapshot) }, nowMs);
    } catch (error) {
      this.#logger.warn({ err: error }, "the page's numbers could not be read; trying again in a second");
    }
  }

  /** Of the last snapshot: made once, however many pages open before the next one. */
  #whole(last: Snapshot): Buffer {
    this.#lastWhole ??= Buffer.concat([eventOf("hello", this.#hello()), eventOf("snapshot", { ...last, point: null })]);
    return this.#lastWhole;
  }

  #hello(): Hello {
    const { applicationId, title, lookups = [] } = this.#options;
    return {
      applicationId,
      title: title ?? applicationId,
      processId: this.#processId,
      startedAtMs: this.#startedAtMs,
      graph: this.#graph.graph,
      panels: this.#panels.map(({ panel: { name, title: heading, note, columns, empty } }) => {
        return { name, title: heading, note, columns, empty };
      }),
      lookups: lookups.map(({ find: _, ...description }) => description),
      history: this.#history.columns(),
      historyMax: POINTS_MAX,
    };
  }
}
