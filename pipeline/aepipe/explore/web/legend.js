// The legend: what colours and shapes mean, and buttons that bring a class forward.

/** Make a button for each class, which brings the dots of the class forward; returns a function that draws the marks. */
function setUpLegend(redraw) {
  const legend = document.getElementById("legend");
  const swatches = [];
  if (!latent.labels) {
    legend.hidden = bundle.classes === 0;
    legend.textContent = `The codes have ${bundle.classes} different labels, more than colours can tell apart.`;
    return () => {};
  }
  bundle.labels.names.forEach((name, label) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "class";
    button.title = name;
    button.setAttribute("aria-pressed", "false");
    const swatch = document.createElement("canvas");
    swatches.push(swatch);
    const text = document.createElement("span");
    text.textContent = name;
    button.append(swatch, text);
    button.addEventListener("click", () => {
      const on = !map.highlighted.delete(label);
      if (on) map.highlighted.add(label);
      button.setAttribute("aria-pressed", String(on));
      redraw();
    });
    legend.append(button);
  });
  const drawSwatches = () => {
    swatches.forEach((swatch, label) => {
      [swatch.width, swatch.height] = [24, 24]; // setting the size clears the canvas
      const context = swatch.getContext("2d");
      context.fillStyle = colourOf(label);
      drawShape(context, label, 12, 12, 9);
    });
  };
  drawSwatches();
  return drawSwatches;
}
