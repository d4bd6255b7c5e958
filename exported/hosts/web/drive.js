// Runs this folder's page in headless Chromium, for tests: node drive.js CHROMIUM. Each line of standard input is a task, in JSON:
// [BUNDLE, TASK, IN, OUT.npy]. "picture" saves a screenshot, "check" writes what the page says, "again" does "reconstruct" twice
// and writes how often each graph was fetched. Each line of output, in JSON, is an error or "".
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import readline from "node:readline";
import { fileURLToPath } from "node:url";
import puppeteer from "puppeteer-core";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm" };
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];

let bundle = ""; // this bundle is served below /bundle/, beside the files of this folder

function answer(request, response) {
  const wanted = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
  const inside = wanted.startsWith("/bundle/");
  const file = path.join(inside ? bundle : HERE, inside ? wanted.slice(8) : wanted);
  fs.readFile(file, (missing, bytes) => {
    response.writeHead(missing ? 404 : 200, { "Content-Type": TYPES[path.extname(file)] ?? "application/octet-stream" });
    response.end(missing ? "" : bytes);
  });
}

/** Does one task in the page. Files come and go as base64 of their bytes, so that every bit stays the same, NaN too. */
async function inside(task, name, bytes) {
  const [{ bundle: loading }, { writeNpy }] = await Promise.all([import("./host.js"), import("./bundle.js")]);
  const given = Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0)), bundle = await loading;
  const work = async (task) => bundle.run(task, await bundle.input(task, name, given));
  let made;
  if (task === "again") {
    await work("reconstruct"), await work("reconstruct");
    const urls = performance.getEntriesByType("resource").map(({ name }) => name).filter((name) => name.endsWith(".onnx"));
    const times = Float32Array.from(new Set(urls), (url) => urls.filter((each) => each === url).length);
    made = { dims: [times.length], data: times };
  } else made = await work(task);
  return btoa(Array.from(writeNpy(made), (code) => String.fromCharCode(code)).join(""));
}

/** Writes the stages that the page compared; throws what it says where they do not agree. */
async function checked(page, target) {
  const [stages, said] = await page.evaluate(() => ["pre", "output"].map((each) => document.querySelector(each).textContent));
  if (!said.startsWith("every stage agrees")) throw Error(`${stages}\n${said}`);
  fs.writeFileSync(target, `${stages}\n`);
}

async function work(browser, address, [folder, task, source, target]) {
  const page = await browser.newPage();
  try {
    bundle = folder;
    await page.setViewport({ width: 720, height: 300 });
    const broken = new Promise((_, fail) => page.once("pageerror", fail));
    await page.goto(task === "check" ? `${address}&check` : address);
    const shown = page.waitForFunction(() => document.querySelector("output").value); // after all pictures
    await Promise.race([broken, shown]);
    if (task === "picture") return await page.screenshot({ path: target });
    if (task === "check") return await checked(page, target);
    const made = await page.evaluate(inside, task, path.basename(source), fs.readFileSync(source).toString("base64"));
    fs.writeFileSync(target, Buffer.from(made, "base64"));
  } finally {
    await page.close();
  }
}

const server = http.createServer(answer);
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const address = `http://127.0.0.1:${server.address().port}/index.html?bundle=/bundle/`;
const browser = await puppeteer.launch({ executablePath: process.argv[2], args: FLAGS, protocolTimeout: 50000 });
try {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const failed = await work(browser, address, JSON.parse(line)).then(() => "", (error) => error.message);
    console.log(JSON.stringify(failed));
  }
} finally {
  await browser.close();
  server.close();
  server.closeAllConnections();
}
