// The schedule's picture: a row a lane, a column a step, a cell a window.

const SVG = "http://www.w3.org/2000/svg";

function shape(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

const SAID = { initial: "from the initial state", carried: "carried from the window before", recorded: "from a recorded state" };

function drawLanes() {
  const { steps, cells, length, lead, lanes, all_lanes, all_steps } = variant().lanes;
  const left = 52, top = 22, wide = 950, tall = lanes > 8 ? 22 : 30, gap = 8;
  const width = (wide - left) / steps.length - gap, scale = width / length;
  const begins = (step) => left + steps.indexOf(step) * (width + gap);
  const svg = shape("svg", { viewBox: `0 0 ${wide} ${top + lanes * tall + 4}` });
  steps.forEach((step, k) => {
    const skipped = k && steps[k - 1] < step - 1 ? "… " : "";
    svg.append(shape("text", { x: begins(step), y: 14 }, `${skipped}step ${step}`));
    for (let lane = 0; lane < lanes; lane++) {
      svg.append(shape("rect", { x: begins(step), y: top + lane * tall, width, height: tall - 5, class: "padding" }));
    }
  });
  for (let lane = 0; lane < lanes; lane++) svg.append(shape("text", { x: 0, y: top + lane * tall + tall / 2 + 2 }, `lane ${lane}`));
  const seen = new Set();
  for (const cell of cells) {
    const x = begins(cell.step) + cell.at * scale, y = top + cell.lane * tall, height = tall - 5;
    const last = cell.first + cell.rows - 1, text = `${cell.first}–${last}`;
    const box = shape("rect", { x, y, width: cell.rows * scale, height, class: cell.source });
    box.append(shape("title", {}, `step ${cell.step}, lane ${cell.lane}: rows ${text}, ${SAID[cell.source]}`));
    svg.append(box);
    seen.add(cell.source);
    if (cell.unscored) {
      const offset = Math.min(4, cell.unscored * scale);
      svg.append(shape("rect", { x: x + offset, y, width: cell.unscored * scale - offset, height, class: "unscored" }));
      seen.add("unscored");
    }
    const room = (cell.rows - cell.unscored) * scale, said = cell.unscored ? `${cell.first + cell.unscored}–${last}` : text;
    if (room > 6.6 * said.length && cell.rows > cell.unscored) {
      svg.append(shape("text", { x: x + cell.unscored * scale + room / 2, y: y + height / 2, class: "rows" }, said));
    }
  }
  if (steps.length * lanes * length > cells.reduce((sum, cell) => sum + cell.rows, 0)) seen.add("padding");
  svg.append(shape("g", { id: "lanes-chosen" }));
  document.getElementById("lanes").replaceChildren(svg);
  for (const item of document.querySelectorAll("#lanes-key li")) {
    item.hidden = item.dataset.source !== "chosen" && !seen.has(item.dataset.source);
  }
  const count = (number, thing) => `${number} ${thing}${number === 1 ? "" : "s"}`;
  const more = all_lanes > lanes ? `, of which ${lanes} are drawn` : "";
  const size = lead ? `${count(length - lead, "new row")} and ${lead} read again` : count(length, "row");
  const of = `${count(all_steps, "step")} in ${count(all_lanes, "lane")}${more}`;
  document.getElementById("lanes-said").textContent = `${variant().label}: windows of ${size}, ${of}`;
  markLanes();
}

/** Where the chosen row stands in the steps that are drawn. */
function markLanes() {
  const { steps, cells, length, lanes } = variant().lanes, row = ROWS[chosen.row], group = document.getElementById("lanes-chosen");
  const wide = 950, left = 52, gap = 8, top = 22, tall = lanes > 8 ? 22 : 30, width = (wide - left) / steps.length - gap;
  const marks = cells.filter((cell) => row >= cell.first && row < cell.first + cell.rows).map((cell) => shape("rect", {
    x: left + steps.indexOf(cell.step) * (width + gap) + ((cell.at + row - cell.first + 0.5) * width) / length - 2,
    y: top + cell.lane * tall - 3, width: 4, height: tall + 1, class: "chosen",
  }));
  group.replaceChildren(...marks);
}
