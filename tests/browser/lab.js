// Works in JupyterLab as a learner does, and prints what it saw as JSON.
// Its one argument is a JSON object: {modules, browser, url, notebooks, exercise, screenshots}.
const path = require("path");
const given = JSON.parse(process.argv[2]);
const { chromium } = require(path.join(given.modules, "playwright-core"));

(async () => {
  const options = { executablePath: given.browser, args: ["--no-sandbox", "--disable-gpu"] };
  const browser = await chromium.launch(options);
  const page = await browser.newPage({ viewport: { width: 1400, height: 1000 } });
  const own = new URL(given.url).host;
  const outside = [], failed = [];
  page.on("request", (r) => /^https?:/.test(r.url()) && new URL(r.url()).host !== own && outside.push(r.url()));
  page.on("pageerror", (e) => failed.push(e.message));

  const picture = async (name) => {
    if (given.screenshots) await page.screenshot({ path: path.join(given.screenshots, `lab-${name}.png`) });
  };
  const menu = async (...labels) => {
    await page.locator(".lm-MenuBar-itemLabel", { hasText: new RegExp(`^${labels[0]}$`) }).click();
    for (const label of labels.slice(1)) {
      await page.locator(".lm-Menu-itemLabel", { hasText: new RegExp(`^${label}$`) }).click();
    }
  };
  const current = () => page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)");
  const idle = async () => {
    // Idle for three looks in a row: between two cells the kernel is idle for a moment too.
    const status = page.locator(".jp-Notebook-ExecutionIndicator:visible");
    for (let quiet = 0; quiet < 3; ) {
      await page.waitForTimeout(700);
      quiet = (await status.getAttribute("data-status")) === "idle" ? quiet + 1 : 0;
    }
  };
  const cell = (start) => current().locator(".jp-CodeCell").filter({ hasText: start }).first();
  const shown = async (where) => {
    await where.scrollIntoViewIfNeeded();
    await page.waitForTimeout(500);
    return where.locator(".jp-OutputArea").innerText();
  };

  await page.goto(given.url);
  const seen = [];
  for (const name of given.notebooks) {
    await page.locator(`.jp-DirListing-item[title*="${name}"]`).dblclick();
    await current().locator(".jp-Notebook").waitFor();
    await idle();
    const begun = Date.now();
    await menu("Run", "Run All Cells");
    await idle();
    const seconds = (Date.now() - begun) / 1000;
    await page.locator('.jp-SideBar [data-id="table-of-contents"]').click();
    await page.waitForTimeout(1000);
    const headings = await page.locator(".jp-TableOfContents .jp-tocItem-content:visible").allInnerTexts();
    await page.locator('.jp-SideBar [data-id="filebrowser"]').click();
    // From top to bottom, since what is far away is not drawn.
    const pictures = new Set();
    const scroller = current().locator(".jp-WindowedPanel-outer");
    await scroller.evaluate((element) => element.scrollTo(0, 0));
    for (let last = -1; ; ) {
      for (const image of await current().locator(".jp-OutputArea img").all()) {
        const [at, drawn] = await image.evaluate((i) => [i.src.slice(0, 3000), i.complete && i.naturalWidth > 100]);
        if (drawn) pictures.add(at);
      }
      const now = await scroller.evaluate((e) => { e.scrollBy(0, 600); return e.scrollTop; });
      if (now === last) break;
      last = now;
      await page.waitForTimeout(150);
    }
    await scroller.evaluate((element) => element.scrollTo(0, 0));
    await page.waitForTimeout(500);
    await picture(`${name}-light`);
    await menu("File", "Save Notebook");
    await page.waitForTimeout(2000);
    seen.push({ name, seconds, headings, pictures: pictures.size });
  }

  await page.locator(".lm-TabBar-tabLabel", { hasText: given.exercise.notebook }).click();
  const check = cell(given.exercise.check);
  const before = await shown(check);
  await picture("exercise-before");
  const stub = cell(given.exercise.stub);
  await stub.scrollIntoViewIfNeeded();
  await stub.locator(".cm-content").click();
  await page.keyboard.press("Control+a");
  await page.keyboard.type(given.exercise.answer);
  await page.keyboard.press("Shift+Enter");
  await idle();
  await check.locator(".cm-content").click();
  await page.keyboard.press("Shift+Enter");
  await idle();
  const after = await shown(check);
  await picture("exercise-after");
  await menu("Settings", "Theme", "JupyterLab Dark");
  await page.waitForTimeout(2000);
  const dark = await page.locator("body").getAttribute("data-jp-theme-light");
  await picture("exercise-dark");
  for (const name of given.notebooks) {
    await page.locator(".lm-TabBar-tabLabel", { hasText: name }).click();
    await page.waitForTimeout(1500);
    await current().locator(".jp-OutputArea img").first().scrollIntoViewIfNeeded();
    await page.waitForTimeout(500);
    await picture(`${name}-dark`);
  }
  await browser.close();
  console.log(JSON.stringify({ seen, before, after, dark: dark === "false", outside, failed }));
})().catch((error) => { console.error(error); process.exit(1); });
