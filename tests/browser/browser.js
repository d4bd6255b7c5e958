// Chromium, and a page of `aepipe explore` opened from the disk, with all that goes wrong written down.

import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import puppeteer from "puppeteer-core";

const QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];

export const launch = (executablePath) => puppeteer.launch({ executablePath, headless: true, args: QUIET });

/** The page, its requests that are neither the file nor made in it, and its console errors. */
export async function open(browser, file, { width = 1280, height = 900, scheme = "light", scale = 1, before } = {}) {
  const page = await browser.newPage();
  const requests = [];
  const errors = [];
  await page.setViewport({ width, height, deviceScaleFactor: scale, hasTouch: width < 500 });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  page.on("request", (request) => /^(file|blob|data):/.test(request.url()) || requests.push(request.url()));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.on("pageerror", (error) => errors.push(String(error)));
  if (before) await before(page);
  await page.goto(pathToFileURL(file).href);
  return { page, requests, errors };
}

export const ready = (page) => page.evaluate(() => window.aepipe.ready);
export const settled = (page) => page.evaluate(() => window.aepipe.settled());

/** Answer what a page asks of the network from a folder, or refuse it where that is "offline". */
export async function serve(page, mode) {
  await page.setRequestInterception(true);
  page.on("request", async (request) => {
    if (!request.url().startsWith("https:")) return request.continue();
    if (mode === "offline") return request.abort();
    const body = await readFile(join(mode, basename(request.url())));
    const contentType = request.url().endsWith("js") ? "text/javascript" : "application/wasm";
    request.respond({ status: 200, contentType, headers: { "access-control-allow-origin": "*" }, body });
  });
}

/** What window.aepipe says of a part, once nothing is being computed; arrays as base64 of float32. */
export async function state(page, part) {
  await settled(page);
  return page.evaluate(async (key) => {
    const base64 = (bytes) =>
      new Promise((done) => {
        const reader = new FileReader();
        reader.onload = () => done(reader.result.slice(reader.result.indexOf(",") + 1));
        reader.readAsDataURL(new Blob([bytes]));
      });
    const plain = async (value) => {
      if (value instanceof Float32Array) return { f32: value.length ? await base64(value) : "" };
      if (Array.isArray(value)) return Promise.all(value.map(plain));
      if (value && typeof value === "object") {
        return Object.fromEntries(await Promise.all(Object.entries(value).map(async ([name, each]) => [name, await plain(each)])));
      }
      return value;
    };
    return plain(window.aepipe[key]);
  }, part);
}

export async function pressed(page, selector, key, times) {
  await page.focus(selector);
  for (let i = 0; i < times; i++) await page.keyboard.press(key);
}

/** Drag on an element over points in parts of its width and height. */
export async function dragged(page, selector, points) {
  const element = await page.$(selector);
  await element.scrollIntoView();
  const box = await element.boundingBox();
  const at = ([x, y]) => [box.x + x * box.width, box.y + y * box.height];
  await page.mouse.move(...at(points[0]));
  await page.mouse.down();
  for (const point of points.slice(1)) await page.mouse.move(...at(point), { steps: 8 });
  await page.mouse.up();
}
