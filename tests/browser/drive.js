// node drive.js CHROMIUM PAGE.html IMAGE FOLDER: does with mouse and keyboard what a person would do, and prints as JSON
// what the page computed at each step; arrays as base64 of float32. Downloads go to FOLDER.

import { dragged, launch, open, pressed, ready, settled, state } from "./browser.js";

const [chromium, file, imageFile, folder] = process.argv.slice(2);
const browser = await launch(chromium);
const { page, requests, errors } = await open(browser, file);
const steps = {};

/** What window.aepipe says of a part, once nothing is being computed. */
async function record(name, part) {
  steps[name] = await state(page, part);
}

const press = (selector, key, times) => pressed(page, selector, key, times);
const drag = (selector, points) => dragged(page, selector, points);

await ready(page);
await record("start", "point");
await drag("#map", [[0.5, 0.5], [0.3, 0.6], [0.62, 0.41]]);
await record("dragged", "point");
steps.place = await page.$eval("#place", (element) => element.textContent);
await press("#map", "ArrowRight", 3);
await record("keyed", "point");
await press("#axes input", "ArrowRight", 12);
await record("slid", "point");
await page.click("#snap");
await drag("#map", [[0.3, 0.3], [0.4, 0.7]]);
await record("snapped", "point");
steps.nearest = await page.evaluate(() => window.aepipe.nearest);
await page.click("#snap");

await page.select("#density", "1");
await press("#temperature", "ArrowLeft", 6);
await page.click("#resample");
await record("samples", "samples");
await page.click("#samples button:nth-child(3)");
await record("sample", "point");

await (await page.$("#file")).uploadFile(imageFile);
await page.waitForFunction(() => window.aepipe.image.name.startsWith("own"));
await record("file", "image");
steps.error = await page.$eval("#error", (element) => element.textContent);
await page.click("#b-from-image");
await settled(page);
await press("#noise", "ArrowRight", 30);
await record("noisy", "image");
await page.click("#tray button:last-child");
await settled(page);
await page.click("#a-from-image");
await record("chosen", "image");
await settled(page);
await press("#alpha", "ArrowRight", 40);
await record("between", "between");
await record("onTheWay", "point");
if (await page.$eval("#draw", (button) => !button.hidden)) {
  await page.click("#draw");
  await drag("#sheet", [[0.5, 0.2], [0.5, 0.8]]);
  await record("drawn", "image");
}

if (await page.$eval("#label", (select) => !select.parentElement.hidden)) {
  await record("classes", "samples");
  await page.select("#label", "7");
  await record("sevens", "samples");
  await page.select("#label", ""); // the same samples as before, which are saved below
  await settled(page);
}

const session = await browser.target().createCDPSession();
await session.send("Browser.setDownloadBehavior", { behavior: "allow", downloadPath: folder, eventsEnabled: true });
const downloaded = new Promise((done) => {
  session.on("Browser.downloadProgress", ({ state }) => state === "completed" && done());
});
await page.click("#save-samples");
await downloaded;

await page.evaluate(() => scrollTo(0, 0));
steps.milliseconds = await page.evaluate(() => window.aepipe.decodeMilliseconds);
steps.alert = await page.$eval("#alert", (element) => (element.hidden ? "" : element.textContent));
await page.mouse.click(5, 5); // Tab goes on from where the mouse was last
steps.tabs = [];
for (let i = 0; i < 6; i++) {
  await page.keyboard.press("Tab");
  steps.tabs.push(await page.evaluate(() => document.activeElement.id || document.activeElement.className));
}
await page.setViewport({ width: 390, height: 844 });
await settled(page);
steps.phone = await page.evaluate(() => ({
  overflow: document.documentElement.scrollWidth - innerWidth,
  bottoms: ["map", "now"].map((id) => document.getElementById(id).getBoundingClientRect().bottom),
  tops: ["map", "now"].map((id) => document.getElementById(id).getBoundingClientRect().top),
}));
steps.title = await page.title();
await browser.close();
console.log(JSON.stringify({ ...steps, requests, errors }));
