import type { Builder, Dataquery } from "@grafana/grafana-foundation-sdk/cog";
import {
  DashboardBuilder,
  DashboardCursorSync,
  DatasourceVariableBuilder,
  type GridPos,
  type Panel as PanelModel,
  QueryVariableBuilder,
  RowBuilder,
  VariableRefresh,
} from "@grafana/grafana-foundation-sdk/dashboard";
import * as heatmap from "@grafana/grafana-foundation-sdk/heatmap";
import * as prometheus from "@grafana/grafana-foundation-sdk/prometheus";
import * as stat from "@grafana/grafana-foundation-sdk/stat";
import * as timeseries from "@grafana/grafana-foundation-sdk/timeseries";
import { type Panel, ROWS } from "./panels.js";

const DATASOURCE = { type: "prometheus", uid: "$datasource" } as const;
const GRID_COLUMNS = 24;
const BUILDERS = {
  stat: { make: () => new stat.PanelBuilder(), width: 4, height: 4 },
  timeseries: { make: () => new timeseries.PanelBuilder().min(0).fillOpacity(8), width: 8, height: 8 },
  heatmap: { make: () => new heatmap.PanelBuilder(), width: 8, height: 8 },
} as const;

/** The dashboard that Grafana is given: a file of JSON. */
export function dashboardJson(): string {
  const builder = new DashboardBuilder("Millrace")
    .uid("millrace")
    .tags(["millrace", "kafka"])
    .description("A Millrace application: records, event time, threads and commits, state.")
    .tooltip(DashboardCursorSync.Crosshair)
    .timezone("browser")
    .time({ from: "now-30m", to: "now" })
    .refresh("5s")
    .withVariable(new DatasourceVariableBuilder("datasource").label("Data source").type("prometheus"))
    .withVariable(variable("application", "Application", "label_values(millrace_info, application_id)"))
    .withVariable(
      variable("instance", "Instance", 'label_values(millrace_info{application_id=~"$application"}, instance)'),
    );
  let y = 0;
  let id = 1;
  for (const { title, panels } of ROWS) {
    builder.withRow(new RowBuilder(title).id(id++).gridPos({ x: 0, y, w: GRID_COLUMNS, h: 1 }));
    y++;
    let x = 0;
    let height = 0;
    for (const panel of panels) {
      const { width, height: h } = BUILDERS[panel.kind];
      if (x + width > GRID_COLUMNS) {
        x = 0;
        y += height;
      }
      builder.withPanel(panelOf(panel, id++, { x, y, w: width, h }));
      x += width;
      height = h;
    }
    y += height;
  }
  return `${JSON.stringify(builder.build(), null, 2)}\n`;
}

function variable(name: string, label: string, query: string): QueryVariableBuilder {
  return new QueryVariableBuilder(name)
    .label(label)
    .datasource(DATASOURCE)
    .query(query)
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .multi(true)
    .includeAll(true)
    .allValue(".*")
    .current({ selected: true, text: "All", value: "$__all" });
}

function panelOf({ title, help, kind, unit, queries }: Panel, id: number, gridPos: GridPos): Builder<PanelModel> {
  const panel = BUILDERS[kind].make();
  panel.id(id).title(title).description(help).unit(unit).gridPos(gridPos).datasource(DATASOURCE);
  for (const [at, { expr, legend }] of queries.entries()) {
    const target = new prometheus.DataqueryBuilder()
      .refId(String.fromCharCode("A".charCodeAt(0) + at))
      .expr(expr)
      .legendFormat(legend)
      .datasource(DATASOURCE);
    if (kind === "stat") target.instant();
    else target.range();
    if (kind === "heatmap") target.format(prometheus.PromQueryFormat.Heatmap);
    panel.withTarget(target as Builder<Dataquery>);
  }
  return panel;
}
