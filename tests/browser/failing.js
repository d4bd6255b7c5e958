// node failing.js CHROMIUM PAGE.html MODE…: what the page says where it cannot run, one answer for each mode: "old" takes
// DecompressionStream away, "offline" refuses the network, a folder serves the network's files from there.

import { launch, open, ready, serve } from "./browser.js";

const [chromium, file, ...modes] = process.argv.slice(2);
const browser = await launch(chromium);

async function answer(mode) {
  const old = (page) => page.evaluateOnNewDocument(() => delete window.DecompressionStream);
  const before = (page) => (mode === "old" ? old(page) : serve(page, mode));
  const { page, requests } = await open(browser, file, { before });
  const failure = await ready(page).then(() => "", (error) => error.message);
  const alert = await page.$eval("#alert", (element) => (element.hidden ? "" : element.textContent));
  const image = await page.evaluate(() => [...(window.aepipe.point?.image ?? [])].slice(0, 4));
  await page.close();
  return { failure, alert, image, requests };
}

const answers = [];
for (const mode of modes) answers.push(await answer(mode));
await browser.close();
console.log(JSON.stringify(answers));
