// node screenshots.js CHROMIUM PAGE.html OUT: OUT-light.png, OUT-dark.png and OUT-phone.png of a page of `aepipe explore`.

import { launch, open, ready, settled } from "./browser.js";

const [chromium, file, out] = process.argv.slice(2);
const browser = await launch(chromium);
for (const [name, options] of Object.entries({
  light: { width: 1280, height: 800 },
  dark: { width: 1280, height: 800, scheme: "dark" },
  phone: { width: 390, height: 844 },
})) {
  const { page } = await open(browser, file, options);
  await ready(page);
  await settled(page);
  await new Promise((done) => setTimeout(done, 400)); // the place is described once the point rests
  await page.screenshot({ path: `${out}-${name}.png` });
  await page.close();
}
await browser.close();
