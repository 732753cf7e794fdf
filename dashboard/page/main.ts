import type { Hello, Snapshot } from "../messages.js";
import { connect } from "./connection.js";
import { byId, setText } from "./document.js";
import { age } from "./format.js";
import { GraphView } from "./graph-view.js";
import { showLookups } from "./lookup-view.js";
import { markOverflow } from "./overflow.js";
import { Plots } from "./plots.js";
import { Staleness } from "./staleness.js";
import { Panels, StoreTable, showNumbers, TaskTable } from "./tables.js";

/** Everything that is drawn for one process of the application; a restarted one gets a new page's worth. */
interface Views {
  readonly processId: string;
  readonly hello: Hello;
  readonly graph: GraphView;
  readonly panels: Panels;
  plots: Plots;
}

const TONES: Readonly<Record<string, string>> = { RUNNING: "good", ERROR: "bad", NOT_RUNNING: "bad" };

const staleness = new Staleness();
const tasks = new TaskTable();
const stores = new StoreTable();
let views: Views | undefined;
for (const box of document.querySelectorAll<HTMLElement>(".scroll")) markOverflow(box);

connect({
  hello(hello) {
    if (views?.processId === hello.processId) {
      views.plots = new Plots(hello.history, hello.historyMax);
      return;
    }
    setText(byId("title"), hello.title);
    setText(byId("application"), hello.title === hello.applicationId ? "" : hello.applicationId);
    // What somebody has typed or found stays when the application comes back with the same look-ups.
    if (JSON.stringify(views?.hello.lookups) !== JSON.stringify(hello.lookups)) showLookups(hello.lookups);
    views = {
      processId: hello.processId,
      hello,
      graph: new GraphView(hello.graph),
      panels: new Panels(hello.panels),
      plots: new Plots(hello.history, hello.historyMax),
    };
  },
  snapshot(snapshot) {
    if (views === undefined) return;
    staleness.heard(snapshot.atMs);
    if (snapshot.point !== null) views.plots.add(snapshot.point);
    showState(snapshot, views.hello);
    showNumbers(snapshot, views.plots.last("commitP99Ms"));
    views.graph.show(snapshot);
    tasks.show(snapshot);
    stores.show(snapshot);
    views.panels.show(snapshot);
  },
  lost() {
    staleness.lost();
  },
});

function showState({ state, reason, tasks: all, atMs }: Snapshot, hello: Hello): void {
  const restoring = all.filter((task) => task.state === "restoring").length;
  const text = state === "REBALANCING" && restoring > 0 ? "restoring" : state.toLowerCase().replaceAll("_", " ");
  const pill = byId("state");
  setText(pill, text);
  pill.dataset.tone = TONES[state] ?? "busy";
  document.title = `${text} · ${hello.title}`;
  const up = `up for ${age(atMs - hello.startedAtMs)}`;
  setText(byId("reason"), reason === text ? up : `${reason} · ${up}`);
  staleness.announce(text);
}
