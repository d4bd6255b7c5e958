// node restore.js CHROMIUM PAGE.html FOLDER NETWORK PICTURE…: does with the page of a restorer what a person would do, and prints as
// JSON what it computed at each step. Downloads go to FOLDER. With three pictures and more, a large one is given up.
// What the page asks of the network is answered from the folder NETWORK.

import { basename, join } from "node:path";
import { writeFile } from "node:fs/promises";
import { dragged, launch, open, pressed, ready, serve, settled, state } from "./browser.js";

const [chromium, file, folder, network, ...pictures] = process.argv.slice(2);
const browser = await launch(chromium);
const { page, requests, errors } = await open(browser, file, { before: (page) => serve(page, network) });
const text = (id) => page.$eval(`#${id}`, (element) => element.textContent);
const choose = async (path) => (await page.$("#file")).uploadFile(path);
const steps = { pictures: [] };

await ready(page);
steps.first = { ...(await state(page, "picture")), said: await text("said"), note: await text("noise-note") };
steps.empty = await page.$eval("#none", (element) => element.checkVisibility());

for (const path of pictures) {
  await choose(path);
  await page.waitForFunction((name) => window.aepipe.picture.name === name, {}, basename(path));
  const shown = { usual: await state(page, "picture"), said: await text("said"), caption: await text("caption") };
  steps.pictures.push(shown);
}
for (const [k, key] of ["Home", "ArrowRight"].entries()) {
  await pressed(page, "#sigma", key, 1 + 9 * k);
  steps[key === "Home" ? "plain" : "noisy"] = { ...(await state(page, "picture")), said: await text("said") };
}
await page.click("#renoise");
steps.other = await state(page, "picture");

steps.splits = [await state(page, "comparison")];
const clip = () => page.$eval("#after", (canvas) => parseFloat(canvas.style.clipPath.split(" ").at(-1)) / canvas.clientWidth);
await pressed(page, "#split", "ArrowLeft", 20);
steps.splits.push({ ...(await state(page, "comparison")), clip: await clip() });
await dragged(page, "#view", [[0.1, 0.3], [0.75, 0.4]]);
steps.splits.push({ ...(await state(page, "comparison")), clip: await clip(), value: await page.$eval("#split", ({ value }) => value) });
await page.focus("#pixel-size");
await page.keyboard.press("Enter");
steps.pixels = await page.$eval("#before", (canvas) => canvas.clientWidth * devicePixelRatio);
await page.keyboard.press("Enter");

const session = await browser.target().createCDPSession();
await session.send("Browser.setDownloadBehavior", { behavior: "allow", downloadPath: folder, eventsEnabled: true });
const saved = new Promise((done) => session.on("Browser.downloadProgress", ({ state }) => state === "completed" && done()));
await page.click("#save");
await saved;

await writeFile(join(folder, "broken.png"), "no image");
await choose(join(folder, "broken.png"));
await page.waitForFunction(() => document.getElementById("file-problem").textContent);
steps.problem = await text("file-problem");

// A large picture is given up for the next one; the page answers meanwhile.
async function giveUp() {
  await page.evaluate(async () => {
    const canvas = new OffscreenCanvas(5000, 3000);
    canvas.getContext("2d").fillRect(0, 0, 5000, 3000);
    const paste = new ClipboardEvent("paste", { clipboardData: new DataTransfer() });
    paste.clipboardData.items.add(new File([await canvas.convertToBlob()], "large.png", { type: "image/png" }));
    dispatchEvent(paste);
  });
  await page.waitForFunction(() => window.aepipe.picture.name === "large.png" && document.getElementById("progress").value > 0);
  steps.large = { caption: await text("caption"), said: await text("said") };
  await choose(pictures.at(-1));
  await page.waitForFunction(() => window.aepipe.picture.name !== "large.png");
  await settled(page);
  steps.last = { name: (await state(page, "picture")).name, working: await page.$eval("#progress", ({ hidden }) => !hidden) };
}
if (pictures.length > 2) await giveUp();

await page.evaluate(() => document.activeElement.blur());
steps.tabs = [];
for (let k = 0; k < 7; k++) {
  await page.keyboard.press("Tab");
  steps.tabs.push(await page.evaluate(() => document.activeElement.id));
}
await page.setViewport({ width: 390, height: 844 });
await settled(page);
steps.overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
steps.alert = await page.$eval("#alert", (element) => (element.hidden ? "" : element.textContent));
await browser.close();
console.log(JSON.stringify({ ...steps, requests, errors }));
