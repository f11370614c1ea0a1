// Opens pages with the network cut, light and dark, wide and narrow, and prints what it saw as JSON.
// Its one argument is a JSON object: {modules, browser, pages, policy, screenshots}.
const path = require("path");
const { pathToFileURL } = require("url");
const given = JSON.parse(process.argv[2]);
const { chromium } = require(path.join(given.modules, "playwright-core"));
const axe = require(path.join(given.modules, "axe-core"));

(async () => {
  const options = { executablePath: given.browser, args: ["--no-sandbox", "--disable-gpu"] };
  const browser = await chromium.launch(options);
  const seen = [];
  for (const [scheme, width] of [["light", 1100], ["dark", 1100], ["light", 400]]) {
    const context = await browser.newContext({
      offline: true,
      colorScheme: scheme,
      viewport: { width, height: 900 },
      bypassCSP: !given.policy,
    });
    for (const file of given.pages) {
      const page = await context.newPage();
      const requests = [], said = [];
      page.on("request", (r) => /^(file|data):/.test(r.url()) || requests.push(r.url()));
      page.on("console", (m) => ["error", "warning"].includes(m.type()) && said.push(m.text()));
      page.on("pageerror", (e) => said.push(e.message));
      page.on("dialog", (d) => { said.push("dialog " + d.message()); d.dismiss(); });
      const begun = Date.now();
      await page.goto(pathToFileURL(file).href, { waitUntil: "load" });
      const milliseconds = Date.now() - begun;
      await page.evaluate(axe.source);
      const found = await page.evaluate(async () => {
        const result = await axe.run(document, { resultTypes: ["violations"] });
        const images = [...document.images];
        return {
          violations: result.violations.map((v) => ({
            id: v.id,
            impact: v.impact,
            where: v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160) + " @ " + n.target.join(" ")),
            why: v.nodes[0].failureSummary,
          })),
          pictures: images.length,
          broken: images.filter((i) => i.complete && !i.naturalWidth).length,
          scripts: document.scripts.length,
          ran: window.ran === undefined ? null : String(window.ran),
          overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
        };
      });
      if (given.screenshots) {
        const name = path.basename(file, ".html") + `-${scheme}-${width}.png`;
        await page.screenshot({ path: path.join(given.screenshots, name), fullPage: true });
      }
      seen.push({ file, scheme, width, milliseconds, requests, said, ...found });
      await page.close();
    }
    await context.close();
  }
  await browser.close();
  console.log(JSON.stringify(seen));
})().catch((error) => { console.error(error); process.exit(1); });
