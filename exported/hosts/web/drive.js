// Runs this folder's page in headless Chromium, for tests: node drive.js CHROMIUM. Each line of standard input is a task, in JSON:
// [BUNDLE, TASK, IN.npy, OUT.npy]. The task "picture" saves a screenshot. Each line of output, in JSON, is an error or "".
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

/** Does one task in the page. Arrays come and go as base64 of their bytes, so that every bit stays the same, NaN too. */
async function inside(task, bytes, dims) {
  const { run } = await import("./host.js");
  const given = Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0));
  const made = await run(task, new Float32Array(given.buffer), dims);
  const raw = new Uint8Array(made.data.buffer, made.data.byteOffset, made.data.byteLength);
  return { bytes: btoa(Array.from(raw, (code) => String.fromCharCode(code)).join("")), dims: made.dims };
}

function readNpy(file) {
  const bytes = fs.readFileSync(file);
  const end = bytes[6] === 1 ? 10 + bytes.readUInt16LE(8) : 12 + bytes.readUInt32LE(8);
  const header = bytes.toString("latin1", 0, end);
  if (!header.includes("'<f4'") || !header.includes("'fortran_order': False")) throw Error(`${file} is not float32, in C order`);
  const dims = header.match(/'shape': \(([\d, ]*)\)/)[1].split(",").filter((size) => size.trim()).map(Number);
  return { bytes: bytes.subarray(end).toString("base64"), dims };
}

function writeNpy(file, { bytes, dims }) {
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${dims.join(", ")},), }`;
  const header = Buffer.from(text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11) + "\n", "latin1");
  const start = Buffer.from([0x93, ...Buffer.from("NUMPY"), 1, 0, header.length & 255, header.length >> 8]);
  fs.writeFileSync(file, Buffer.concat([start, header, Buffer.from(bytes, "base64")]));
}

async function work(browser, address, [folder, task, source, target]) {
  const page = await browser.newPage();
  try {
    bundle = folder;
    await page.setViewport({ width: 720, height: 300 });
    const broken = new Promise((_, fail) => page.once("pageerror", fail));
    await page.goto(address);
    await Promise.race([broken, page.waitForFunction(() => document.querySelector("output").value)]); // now the page has shown its pictures
    if (task === "picture") return await page.screenshot({ path: target });
    const { bytes, dims } = readNpy(source);
    writeNpy(target, await page.evaluate(inside, task, bytes, dims));
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
