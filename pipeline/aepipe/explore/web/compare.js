// Before and after, one over the other: a line that divides them, and two sizes, the width of the page and the pixel.

const canvases = { before: document.getElementById("before"), after: document.getElementById("after") };
const compare = document.getElementById("compare");
const view = document.getElementById("view");
const line = document.getElementById("line");
const split = document.getElementById("split");
const comparison = { split: 0.5, pixels: false };

/** Show a picture that has just come; where its tiles are not done yet, there is a veil over both sides of the line. */
function showPicture() {
  const { width, height, bytes } = picture;
  for (const canvas of Object.values(canvases)) {
    [canvas.width, canvas.height] = [width, height];
    const context = canvas.getContext("2d");
    context.putImageData(new ImageData(bytes, width, height), 0, 0);
    context.fillStyle = "rgb(128 128 128 / 0.65)";
    context.fillRect(0, 0, width, height);
  }
  compare.style.setProperty("--ratio", width / height);
  compare.style.setProperty("--width", `${width}px`);
  document.body.classList.remove("empty");
  document.getElementById("said").textContent = "";
  showSize();
  moveTo(width / 2, height / 2);
}

/** Place the line, and cut the upper canvas at it, wherever the view is scrolled to. */
function showSplit() {
  const at = comparison.split * view.clientWidth;
  line.style.left = `${at}px`;
  canvases.after.style.clipPath = `inset(0 0 0 ${view.scrollLeft + at}px)`;
}

function setSplit(value) {
  comparison.split = Math.min(1, Math.max(0, value));
  split.value = Math.round(100 * comparison.split);
  showSplit();
}

/** Show pixels as pixels of the screen, or the whole picture. */
function setPixels(on) {
  const [x, y] = middleOfView();
  comparison.pixels = on;
  document.getElementById("pixel-size").setAttribute("aria-pressed", String(on));
  showSize();
  moveTo(x, y);
}

function showSize() {
  compare.style.setProperty("--screen", devicePixelRatio || 1);
  compare.classList.toggle("own-size", comparison.pixels);
  view.tabIndex = comparison.pixels ? 0 : -1; // there is something to scroll
  const enlarged = (view.clientWidth * (devicePixelRatio || 1)) / picture.width >= 1;
  compare.classList.toggle("crisp", comparison.pixels || enlarged);
  showSplit();
}

/** CSS pixels that one of the picture takes. */
const scale = () => canvases.before.clientWidth / picture.width || 1;

function middleOfView() {
  if (!comparison.pixels) return [picture.width / 2, picture.height / 2];
  return [view.scrollLeft + view.clientWidth / 2, view.scrollTop + view.clientHeight / 2].map((at) => at / scale());
}

function moveTo(x, y) {
  view.scrollLeft = x * scale() - view.clientWidth / 2;
  view.scrollTop = y * scale() - view.clientHeight / 2;
  showSplit();
}

function setUpCompare() {
  split.addEventListener("input", () => setSplit(split.value / 100));
  view.addEventListener("scroll", showSplit);
  addEventListener("resize", showSize);
  document.getElementById("pixel-size").addEventListener("click", () => setPixels(!comparison.pixels));
  view.addEventListener("dblclick", (event) => {
    const box = canvases.before.getBoundingClientRect();
    const [x, y] = [(event.clientX - box.left) / scale(), (event.clientY - box.top) / scale()];
    setPixels(!comparison.pixels);
    if (comparison.pixels) moveTo(x, y);
  });
  dragging(line, (event) => splitAt(event));
  dragging(view, (event) => {
    if (!comparison.pixels) splitAt(event);
    else if (event.type === "pointermove" && event.pointerType === "mouse") view.scrollBy(-event.movementX, -event.movementY);
  });
}

function splitAt(event) {
  const box = view.getBoundingClientRect();
  setSplit((event.clientX - box.left) / view.clientWidth);
}

/** Call `move` when a pointer is pressed on an element, and while it moves until it is let go. */
function dragging(element, move) {
  let held = false;
  element.addEventListener("pointerdown", (event) => {
    if (event.button || event.offsetX > element.clientWidth || event.offsetY > element.clientHeight) return; // on a scrollbar
    held = true;
    element.setPointerCapture(event.pointerId);
    move(event);
  });
  element.addEventListener("pointermove", (event) => held && move(event));
  for (const name of ["pointerup", "pointercancel"]) element.addEventListener(name, () => (held = false));
}
