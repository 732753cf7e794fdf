import Table from "cli-table3";

/** A table for a terminal, one line for each row; numbers stand to the right. */
export function tableOf(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const isNumber = (column: number): boolean =>
    rows.length > 0 && rows.every((row) => /^(-|-?[\d,]+(\.\d+)?)?$/.test(row[column] ?? ""));
  const table = new Table({
    head: [...head],
    colAligns: head.map((_, column) => (isNumber(column) ? "right" : "left")),
    style: { head: [], border: [], compact: true },
  });
  for (const row of rows) table.push([...row]);
  return table.toString();
}
