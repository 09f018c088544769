/**
 * Look at pages with axe-core.
 *
 *     node test/axe.mjs BROWSER < jobs.json > looks.json
 *
 * A job is `{url, width, wait?, read?, screenshot?, scheme?}`, a look `{url, width, violations, overflow,
 * errors, text}`. Kept are the rules that axe-core calls serious or critical; `wait` is a script that is true when
 * the page is ready, `read` the element whose text comes back, `screenshot` a path.
 */

import { readFileSync } from "node:fs";
import process from "node:process";

import { chromium } from "playwright-core";

const AXE = readFileSync(new URL("../node_modules/axe-core/axe.min.js", import.meta.url), "utf8");

async function look(browser, { url, width, wait, read, screenshot, scheme }) {
  const context = await browser.newContext({
    viewport: { width, height: 900 },
    colorScheme: scheme ?? "light",
  });
  const page = await context.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  await page.goto(url, { waitUntil: "load" });
  if (wait) await page.waitForFunction(wait, null, { timeout: 60000 });
  if (screenshot) await page.screenshot({ path: screenshot, fullPage: true });
  await page.evaluate(AXE);
  const violations = await page.evaluate(async () => {
    const found = await globalThis.axe.run(document, { resultTypes: ["violations"] });
    return found.violations
      .filter((rule) => ["serious", "critical"].includes(rule.impact))
      .map(({ id, impact, help, nodes }) => ({
        id,
        impact,
        help,
        nodes: nodes.map((node) => `${node.target} ${node.html.slice(0, 160)}`),
      }));
  });
  const overflow = await page.evaluate(
    () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
  );
  const text = read ? await page.textContent(read) : null;
  await context.close();
  return { url, width, violations, overflow, errors, text };
}

const browser = await chromium.launch({
  executablePath: process.argv[2],
  chromiumSandbox: false,
  args: ["--disable-gpu", "--disable-background-networking"],
});
try {
  const results = [];
  for (const job of JSON.parse(readFileSync(0, "utf8"))) results.push(await look(browser, job));
  process.stdout.write(JSON.stringify(results));
} finally {
  await browser.close();
}
