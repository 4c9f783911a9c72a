// Look at every dashboard in a real Grafana: node look.mjs GRAFANA PROMETHEUS FOLDER
//
// A panel that reads Prometheus may show neither an error nor that there is nothing: in the incident all of them have
// something to show. Pictures go into the folder. Traces and logs are not asked for: there is no backend of theirs.
import { mkdir, readdir, readFile } from "node:fs/promises";
import { chromium } from "playwright";

const [grafana, prometheus, folder] = process.argv.slice(2);
const DASHBOARDS = new URL("../../dashboards/out/", import.meta.url);
const NOTHING = /No data|nothing to show|no telemetry|no rules/i;
const ERROR = '[data-testid="data-testid Panel status error"]';
const HOURS = 15; // a little more than the incident

async function end() {
  const query = encodeURIComponent("max(max_over_time(timestamp(stream_active)[1h:1m]))");
  const answer = await (await fetch(`${prometheus}/api/v1/query?query=${query}`)).json();
  return 1000 * Number(answer.data.result[0].value[1]);
}

async function complaint(page, title) {
  const panel = page.locator(`[data-testid="data-testid Panel header ${title}"]`).first();
  if (!(await panel.count())) return "is not there";
  if (await panel.locator(ERROR).count()) return "shows an error";
  const nothing = NOTHING.exec(await panel.innerText());
  return nothing && `says "${nothing[0]}"`;
}

await mkdir(folder, { recursive: true });
const browser = await chromium.launch();
// Tall enough for all of a dashboard, since Grafana asks for no panel that is out of sight.
const page = await browser.newPage({ viewport: { width: 1920, height: 3200 } });
const to = await end();
const from = to - HOURS * 3_600_000;
let complaints = 0;
for (const file of (await readdir(DASHBOARDS)).filter((name) => name.endsWith(".json"))) {
  const board = JSON.parse(await readFile(new URL(file, DASHBOARDS), "utf8"));
  await page.goto(`${grafana}/d/${board.uid}?from=${from}&to=${to}&refresh=&kiosk`);
  await page.waitForLoadState("networkidle");
  await page.screenshot({ path: `${folder}/${board.uid}.png` });
  for (const { title, datasource } of board.panels) {
    const wrong = datasource?.type === "prometheus" && (await complaint(page, title));
    if (!wrong) continue;
    console.error(`${board.title}: "${title}" ${wrong}`);
    complaints += 1;
  }
}
await browser.close();
process.exitCode = complaints ? 1 : 0;
