// Chromium, and a page of `aepipe explore` opened from the disk, with all that goes wrong written down.

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
