// Sliders for the principal axes that the map does not show.

const REACH = 3.5; // the sliders reach so many standard deviations to each side
const sliders = [];

function setUpAxes() {
  const rest = axisCount - 2;
  const percent = (share) => `${Math.round(100 * share)} %`;
  const total = bundle.share.slice(0, 2).reduce((sum, share) => sum + share, 0);
  const note = document.getElementById("axes-note");
  document.getElementById("axes-section").hidden = rest < 1;
  if (rest < 1) return;
  const all = bundle.latent === axisCount;
  const which = rest === 1 ? "Here is the third" : all ? `Here are the other ${rest}` : `Here are 3 to ${axisCount} of ${bundle.latent}`;
  note.textContent =
    `The map shows two axes, with ${percent(total)} of how the codes differ. ${which}, in standard deviations` +
    (all ? "." : "; those that are left keep their values.");
  for (let axis = 2; axis < axisCount; axis++) {
    const row = document.createElement("label");
    const slider = document.createElement("input");
    const name = document.createElement("span");
    const value = document.createElement("output");
    row.className = "slider";
    name.textContent = `${axis + 1}`;
    name.title = `axis ${axis + 1}: ${percent(bundle.share[axis])} of how the codes differ`;
    Object.assign(slider, { type: "range", min: -REACH, max: REACH, step: 0.05, value: 0 });
    slider.setAttribute("aria-label", `Axis ${axis + 1}`);
    slider.addEventListener("input", () => setPoint(moved(point.code, { [axis]: Number(slider.value) })));
    row.append(name, slider, value);
    document.getElementById("axes").append(row);
    sliders.push({ axis, slider, value });
  }
  document.getElementById("axes").classList.toggle("many", sliders.length > 8);
  document.getElementById("axes-zero").addEventListener("click", () => {
    setPoint(moved(point.code, Object.fromEntries(sliders.map(({ axis }) => [axis, 0]))));
  });
}

/** Set the sliders to where the point is. */
function showAxes() {
  const at = coordinatesOf(point.code);
  for (const { axis, slider, value } of sliders) {
    if (document.activeElement !== slider || Math.abs(Number(slider.value) - at[axis]) > 0.051) slider.value = at[axis];
    value.textContent = signed(at[axis]);
    slider.setAttribute("aria-valuetext", `${signed(at[axis])} standard deviations`);
  }
}
