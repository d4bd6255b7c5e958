// The start of the page, and the state that programs may read.

/**
 * window.aepipe holds the state of the page as plain numbers, for tests and for anyone who is curious. Arrays are
 * Float32Array; images are [C, H, W] in 0..1.
 *   ready       resolves when everything is set up, rejects with the reason when the page cannot run
 *   settled()   resolves when nothing is being computed
 *   point       {code, image}: a code and what the decoder made of it
 *   samples     {density, label, temperature, seed, noise, labels, codes, images}: noise is already multiplied by the
 *               temperature, labels are null for a density that is told none
 *   image       {name, clean, input, code, reconstruction, sigma}: input is clean plus noise
 *   between     {a, b, alpha, strip}: the codes of the ends, the position between them, and the images of seven steps
 *   nearest     the index of the training code nearest to the point
 *   decodeMilliseconds   the median time of the last decodes
 */
window.aepipe = {
  ready: start(setUp),
  settled,
  get point() {
    return { ...shown };
  },
  get samples() {
    return { ...samples, density: bundle.densities[samples.density]?.name };
  },
  get image() {
    return { ...image };
  },
  get between() {
    return { a: ends.a.code, b: ends.b.code, alpha: ends.alpha, strip: ends.strip };
  },
  get nearest() {
    return nearestTo(point.code);
  },
  get decodeMilliseconds() {
    return medianDecodeTime();
  },
};

async function setUp() {
  document.documentElement.style.setProperty("--ratio", width / height);
  await Promise.all([startRuntime(), readCodes()]);
  point.code = Float32Array.from(codeOf(0));
  setUpPoint();
  setUpMap();
  setUpAxes();
  setUpImage();
  await readExamples();
  await setUpBetween();
  await chooseImage(tray[0]);
  await settled();
  uncover();
  await setUpSamples();
  await settled();
}
window.aepipe.ready.catch(() => {});
