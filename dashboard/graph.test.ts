import { count, minutes, StreamsBuilder, tumbling } from "millrace";
import { int64, string } from "millrace/serdes";
import { describe, expect, test } from "vitest";
import { graphOf } from "./graph.js";

function ordersTopology() {
  const builder = new StreamsBuilder();
  const orders = builder.stream("orders", { key: string, value: int64, onError: { deadLetter: "bad-orders" } });
  orders.filter((value) => value > 0n).to("large-orders");
  orders
    .selectKey((value) => String(value), { key: string })
    .groupByKey()
    .windowedBy(tumbling({ sizeMs: minutes(1), graceMs: 0 }))
    .aggregate("per-amount", { orders: count() });
  return builder.build();
}

const { graph, meters } = graphOf(ordersTopology(), ({ name, internal }) => (internal ? `app-${name}` : name));
const nameOf = (at: number) => `${graph.nodes[at]?.kind} ${graph.nodes[at]?.name}`;
const edges = graph.edges.map(({ from, to }, at) => [nameOf(from), nameOf(to), meters[at]?.by]);

describe("the drawing of a topology", () => {
  test("has topics, processors and stores, with a repartition topic between its two sides under its name on the broker", () => {
    expect(edges).toContainEqual(["processor per-amount", "store per-amount", "changelog"]);
    expect(edges).toContainEqual(["topic orders", "dead-letter bad-orders", "dead-letter"]);
    const repartition = graph.nodes.find(({ name }) => name.startsWith("app-") && name.endsWith("-repartition"));
    expect(repartition?.kind).toBe("topic");
    expect(edges).toContainEqual([`topic ${repartition?.name}`, "processor per-amount", "consumed"]);
    expect(graph.nodes.every(({ name }) => !name.endsWith("-sink") && !name.endsWith("-source"))).toBe(true);
  });

  test("meters an arrow by a counter that counts exactly what passes there", () => {
    const into = edges.filter(([, to]) => to === "topic large-orders");
    expect(into).toHaveLength(1);
    expect(into[0]?.[2]).toBe("produced");
    expect(edges.filter(([from]) => from === "topic orders").map(([, , by]) => by)).toContain("consumed");
  });

  test("is laid out twice, each time with every node inside and none on top of another", () => {
    for (const layout of [graph.wide, graph.tall]) {
      const boxes = layout.nodes.map(({ x, y, width, height }) => ({
        left: x - width / 2,
        right: x + width / 2,
        top: y - height / 2,
        bottom: y + height / 2,
      }));
      for (const [at, box] of boxes.entries()) {
        expect(box.left).toBeGreaterThanOrEqual(0);
        expect(box.right).toBeLessThanOrEqual(layout.width);
        expect(box.top).toBeGreaterThanOrEqual(0);
        expect(box.bottom).toBeLessThanOrEqual(layout.height);
        for (const other of boxes.slice(at + 1)) {
          const apart =
            box.right <= other.left || other.right <= box.left || box.bottom <= other.top || other.bottom <= box.top;
          expect(apart).toBe(true);
        }
      }
      for (const points of layout.edges) expect(points.length).toBeGreaterThanOrEqual(2);
    }
    expect(graph.tall.width).toBeLessThan(graph.wide.width);
  });
});
