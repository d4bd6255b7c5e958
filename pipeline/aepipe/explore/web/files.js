// Files that come to the page, and those that leave it.

/** Let image files be dropped anywhere on the page; `take` is given them, and what it returns is counted as work. */
function setUpDropping(take) {
  const over = (on) => document.body.classList.toggle("dropping", on);
  addEventListener("dragover", (event) => (event.preventDefault(), over(true)));
  addEventListener("dragleave", (event) => !event.relatedTarget && over(false));
  addEventListener("drop", (event) => {
    event.preventDefault();
    over(false);
    track(take([...event.dataTransfer.files]));
  });
}

/** Let them be chosen by the button. */
function setUpChoosing(take) {
  const file = document.getElementById("file");
  file.addEventListener("change", () => {
    track(take([...file.files]));
    file.value = "";
  });
}

/** Save a canvas as PNG. */
function saveCanvas(canvas, name) {
  canvas.toBlob((blob) => {
    if (!blob) return fail(new Error("the browser cannot write a PNG of this size"));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${name}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }, "image/png");
}
