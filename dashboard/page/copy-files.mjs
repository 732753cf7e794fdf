// The last step of the build: what the page needs beside its scripts. uPlot comes from its package, so that no address of
// anybody else stands in the page.
import { copyFileSync, mkdirSync } from "node:fs";

const from = new URL("./", import.meta.url);
const packages = new URL("../../node_modules/", from);
const to = new URL("../../dist/dashboard/page/", from);

mkdirSync(to, { recursive: true });
for (const file of ["index.html", "page.css", "icon.svg"]) copyFileSync(new URL(file, from), new URL(file, to));
for (const file of ["uPlot.iife.min.js", "uPlot.min.css"])
  copyFileSync(new URL(`uplot/dist/${file}`, packages), new URL(file, to));
