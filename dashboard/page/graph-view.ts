import type { Graph, GraphNode, Layout, Snapshot } from "../messages.js";
import { byId, setText, svg } from "./document.js";
import { count, NOTHING, rate } from "./format.js";
import { Table } from "./tables.js";

const NARROW = window.matchMedia("(max-width: 760px)");
/** Characters that fit into the widest box. */
const LABEL_MAX = 31;

interface DrawnEdge {
  readonly line: SVGElement;
  readonly text: SVGElement;
}

/** The topology as a drawing of its own: from left to right, or from top to bottom where the screen is narrow. */
export class GraphView {
  readonly #graph: Graph;
  readonly #table: Table;
  #edges: readonly DrawnEdge[] = [];
  #rows = new Map<string, SVGElement>();
  #last: Snapshot | undefined;

  constructor(graph: Graph) {
    this.#graph = graph;
    this.#table = new Table(byId("edges"), "Edges of the topology", [
      { title: "From", kind: "text" },
      { title: "To", kind: "text" },
      { title: "Records/s", kind: "number" },
    ]);
    this.#draw();
    NARROW.onchange = () => this.#draw();
  }

  show(snapshot: Snapshot): void {
    this.#last = snapshot;
    const { edgeRates, stores, atMs } = snapshot;
    for (const [at, { line, text }] of this.#edges.entries()) {
      const value = edgeRates[at] ?? null;
      setText(text, value === null ? "" : rate(value));
      line.setAttribute("data-flow", flowOf(value));
    }
    for (const { name, rows } of stores) {
      const label = this.#rows.get(name);
      if (label !== undefined) setText(label, rows === null ? "" : `${count(rows)} rows`);
    }
    const nameOf = (at: number): string => describe(this.#graph.nodes[at]);
    const table = this.#graph.edges.map(({ from, to }, at) => {
      const value = edgeRates[at] ?? null;
      return [nameOf(from), nameOf(to), value === null ? NOTHING : rate(value)];
    });
    this.#table.show(table, atMs, "no edges");
  }

  #draw(): void {
    const layout = NARROW.matches ? this.#graph.tall : this.#graph.wide;
    const { width, height } = layout;
    const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
    drawing.setAttribute("aria-label", `Topology with ${this.#graph.nodes.length} nodes; the table below has the same`);
    drawing.style.maxWidth = `${width}px`;
    drawing.style.minWidth = `${Math.min(width, NARROW.matches ? 300 : 640)}px`;
    drawing.append(arrowHead());
    this.#edges = layout.edges.map((points, at) => this.#drawEdge(drawing, points, at));
    this.#rows = new Map();
    for (const [at, node] of this.#graph.nodes.entries()) this.#drawNode(drawing, node, layout, at);
    byId("graph").replaceChildren(drawing);
    if (this.#last !== undefined) this.show(this.#last);
  }

  #drawEdge(drawing: SVGElement, points: Layout["edges"][number], at: number): DrawnEdge {
    const edge = this.#graph.edges[at];
    const isStore = this.#graph.nodes[edge?.to ?? 0]?.kind === "store";
    const line = svg("path", { d: pathOf(points), class: isStore ? "edge to-store" : "edge" });
    if (!isStore) line.setAttribute("marker-end", "url(#arrow)");
    const middle = points[Math.floor(points.length / 2)] ?? { x: 0, y: 0 };
    const text = svg("text", { x: middle.x, y: middle.y, class: "rate", dy: "0.35em" });
    drawing.append(line, text);
    return { line, text };
  }

  #drawNode(drawing: SVGElement, node: GraphNode, layout: Layout, at: number): void {
    const { x, y, width, height } = layout.nodes[at] as Layout["nodes"][number];
    const group = svg("g", { class: `node ${node.kind}`, transform: `translate(${x - width / 2} ${y - height / 2})` });
    group.append(svg("title", {}, describe(node)));
    if (node.kind === "store") {
      const lid = 5;
      const side = `M0 ${lid} v${height - 2 * lid} a${width / 2} ${lid} 0 0 0 ${width} 0 v${-(height - 2 * lid)}`;
      group.append(
        svg("path", { d: `${side} a${width / 2} ${lid} 0 0 0 ${-width} 0 a${width / 2} ${lid} 0 0 0 ${width} 0` }),
      );
    } else group.append(svg("rect", { width, height, rx: node.kind === "processor" ? 6 : height / 2 }));
    const label = node.label.length > LABEL_MAX ? `${node.label.slice(0, LABEL_MAX - 1)}…` : node.label;
    const isStore = node.kind === "store";
    group.append(svg("text", { x: width / 2, y: height / 2, dy: isStore ? "0.05em" : "0.35em" }, label));
    if (isStore) {
      const rows = svg("text", { x: width / 2, y: height / 2 + 14, class: "rows" });
      this.#rows.set(node.name, rows);
      group.append(rows);
    }
    drawing.append(group);
  }
}

const KINDS = { topic: "topic", "dead-letter": "dead-letter topic", processor: "processor", store: "store" } as const;

function describe(node: GraphNode | undefined): string {
  return node === undefined ? "" : `${KINDS[node.kind]} ${node.name}`;
}

/** How much passes, by powers of ten: the drawing's lines grow and run with it. */
function flowOf(value: number | null): string {
  if (value === null) return "unknown";
  if (value < 0.05) return "0";
  return String(Math.min(5, Math.max(1, Math.ceil(Math.log10(value + 1)))));
}

/** A curve through the middles between the corners. */
function pathOf(points: Layout["edges"][number]): string {
  const [first, ...rest] = points;
  if (first === undefined) return "";
  const last = rest.at(-1) ?? first;
  let path = `M${first.x} ${first.y}`;
  for (const [at, point] of rest.slice(0, -1).entries()) {
    const next = rest[at + 1] ?? last;
    const isLast = at === rest.length - 2;
    const end = isLast ? last : { x: (point.x + next.x) / 2, y: (point.y + next.y) / 2 };
    path += ` Q${point.x} ${point.y} ${end.x} ${end.y}`;
  }
  return rest.length < 2 ? `${path} L${last.x} ${last.y}` : path;
}

function arrowHead(): SVGElement {
  const size = { viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, markerUnits: "userSpaceOnUse" };
  const marker = svg(
    "marker",
    { id: "arrow", orient: "auto-start-reverse", ...size },
    svg("path", { d: "M0 0.5 L8 4 L0 7.5 z" }),
  );
  return svg("defs", {}, marker);
}
