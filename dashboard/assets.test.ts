import { readdirSync } from "node:fs";
import { expect, test } from "vitest";
import { ASSET_PATHS } from "./assets.js";

test("every module of the page is served: one that is missing leaves it blank", () => {
  const modules = readdirSync(new URL("page/", import.meta.url)).filter((file) => file.endsWith(".ts"));
  expect(modules).toContain("main.ts");
  const served = ASSET_PATHS.filter((path) => path.startsWith("/dashboard/page/"));
  expect(served.sort()).toEqual(modules.map((file) => `/dashboard/page/${file.replace(/ts$/, "js")}`).sort());
});
