// What the controls do.

const at = (id) => document.getElementById(id);

function fillSelect(id, texts, value) {
  at(id).replaceChildren(...texts.map(([key, text]) => new Option(text, key)));
  at(id).value = String(value);
}

/** What is said about the cell of the chosen layer. */
function fillCell() {
  const { gates_title, states_title, look, shown } = LAYERS[chosen.layer].words;
  at("gates-title").textContent = `2. ${gates_title[0].toUpperCase()}${gates_title.slice(1)}`;
  at("gates-look").textContent = look;
  at("gates").setAttribute("aria-label", `Heat maps of ${gates_title}`);
  at("norms").setAttribute("aria-label", `Size of the gradient with respect to ${states_title}`);
  const scales = new Map();
  for (const [name, , low, high] of shown) {
    const key = low === null ? name : `${low} ${high}`;
    scales.set(key, { low, high, names: [...(scales.get(key)?.names ?? []), name] });
  }
  at("gates-scales").replaceChildren(...Array.from(scales.values(), ({ low, high, names }) => {
    const line = document.createElement("li"), from = document.createElement("span"), to = document.createElement("span");
    const scale = document.createElement("i"), text = (value) => String(value).replace("-", "−");
    scale.className = `scale ${low === 0 ? "share" : "signed"}`;
    if (low === null) from.id = `${names[0]}-low`, to.id = `${names[0]}-high`;
    else from.textContent = text(low), to.textContent = text(high);
    line.append(`${names.join(", ")} `, from, scale, to);
    return line;
  }));
  buildStep();
}

function fillUnits() {
  const layer = LAYERS[chosen.layer];
  chosen.unit = Math.min(chosen.unit, layer.units.length - 1);
  fillSelect("unit", layer.orders[chosen.order].map((k) => [k, `${layer.units[k]}`]), chosen.unit);
}

let waiting = false;

/** Choose a row; the marks in the figures follow with the next frame. */
function chooseRow(row) {
  chosen.row = Math.max(0, Math.min(ROWS.length - 1, row));
  at("row").value = String(chosen.row);
  at("row-said").textContent = String(ROWS[chosen.row]);
  at("row").setAttribute("aria-valuetext", `row ${ROWS[chosen.row]}`);
  fillStep();
  markLanes();
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    markRow();
  });
}

function sayVariant() {
  const { label, note, fresh, anew, length, lookback, starts } = variant();
  const reach = lookback ? `windows of ${length} new rows and ${lookback} read again, all of which the gradient goes back through` : `cut every ${length} rows`;
  const many = starts.length > MARKS ? "too many borders to draw" : "";
  const told = [reach, fresh ? "every window starts from the initial state, so that losses differ, too (the reach below is that of a carried state)" : "", note, many];
  at("variant-said").textContent = `${label}: ${told.filter(Boolean).join("; ")}. Windows are counted from the first row${anew && PAGE.reset.some((r) => r > 0) ? ", and anew from each reset" : ""}.`;
  at("norms-look").textContent = lookback
    ? `Look further left of each dashed border than the ${lookback} rows that are read again: only there does the gradient of the `
      + "windows (solid) know nothing of the losses right of the border, and part from the whole one (dotted)."
    : "Look just left of each dashed border: there the gradient of the windows (solid) knows nothing of the losses right of it, "
      + "and parts from the whole one (dotted).";
}

function chooseVariant(number) {
  chosen.variant = number;
  sayVariant();
  drawLanes();
  draw("norms", "reach", "profile", "series", "gates", "bias");
}

function chooseTheme(theme) {
  document.documentElement.dataset.theme = theme;
  at("theme").textContent = theme === "dark" ? "Light" : "Dark";
  at("theme").setAttribute("aria-label", `Switch to ${theme === "dark" ? "light" : "dark"} colours`);
}

function listen() {
  at("row").addEventListener("input", () => chooseRow(Number(at("row").value)));
  at("back").addEventListener("click", () => chooseRow(chosen.row - 1));
  at("forth").addEventListener("click", () => chooseRow(chosen.row + 1));
  document.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey || event.target instanceof HTMLSelectElement) return;
    if (event.target === at("lanes")) return; // there the keys scroll
    event.preventDefault();
    chooseRow(chosen.row + step);
  });
  at("layer").addEventListener("change", () => {
    chosen.layer = Number(at("layer").value);
    fillCell();
    fillUnits();
    fillStep();
    draw("gates", "norms", "reach", "profile");
  });
  at("unit").addEventListener("change", () => chooseUnit(Number(at("unit").value)));
  at("order").addEventListener("change", () => {
    chosen.order = at("order").value;
    fillUnits();
    draw("gates");
  });
  at("variant").addEventListener("change", () => chooseVariant(Number(at("variant").value)));
  at("target").addEventListener("change", () => {
    chosen.target = Number(at("target").value);
    fillStep();
    draw("series");
  });
  at("theme").addEventListener("click", () => {
    chooseTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    draw(...Object.keys(FIGURES));
  });
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (narrow() !== width < 740) draw(...Object.keys(FIGURES));
    width = window.innerWidth;
  });
}

function clicked(name, point) {
  const row = PLACES.indexOf(name === "reach" ? point.y : point.x);
  if (row >= 0) chooseRow(row);
  if (name === "gates") chooseUnit(LAYERS[chosen.layer].orders[chosen.order][point.pointIndex[0]]);
}

/** Figures one after the other, so that the first can be looked at, and the controls used, while others are drawn. */
function drawNext([name, ...rest]) {
  draw(name);
  if (rest.length) setTimeout(drawNext, 0, rest);
  else document.body.dataset.drawn = "all";
}

function chooseUnit(unit) {
  chosen.unit = unit;
  at("unit").value = String(unit);
  fillStep();
  const moved = {}, place = LAYERS[chosen.layer].orders[chosen.order].indexOf(unit);
  LAYERS[chosen.layer].words.shown.forEach((_, k) => Object.assign(moved, { [`shapes[${k}].y0`]: place - 0.5, [`shapes[${k}].y1`]: place + 0.5 }));
  if (DRAWN.has("gates")) Plotly.relayout("gates", moved);
}

function start() {
  const cut = PAGE.truncate === null ? "" : ` Its gradient, below in part 4, is cut every ${PAGE.truncate} rows.`;
  const before = PAGE.warmed ? `warmed over the ${PAGE.warmed} rows before` : "from the initial state";
  at("name").textContent = PAGE.name;
  at("summary").textContent =
    `Rows ${ROWS[0]} to ${ROWS[ROWS.length - 1]} (${PAGE.all_rows}), ${before}, through ${PAGE.model}; mean loss ${show(PAGE.mean_loss)}.${cut}`;
  at("left-out").hidden = !PAGE.left_out && PAGE.precision === "float64";
  const single = PAGE.precision === "float64" ? "" : "numbers are kept to seven digits";
  at("left-out").textContent = `To keep the page small: ${[PAGE.left_out && `it shows ${PAGE.left_out}`, single].filter(Boolean).join("; ")}.`;
  at("row").max = String(ROWS.length - 1);
  const scored = ROWS.map((_, k) => k).filter((k) => WEIGHT[k] > 0);
  chosen.row = scored.reduce((best, k) => (LOSS[k] > LOSS[best] ? k : best), scored[0] ?? 0);
  fillSelect("layer", LAYERS.map((layer, k) => [k, String(layer.index)]), 0);
  at("layer").parentElement.hidden = LAYERS.length < 2;
  fillSelect("variant", PAGE.variants.map((v, k) => [k, v.label]), 0);
  fillSelect("target", Array.from({ length: OBSERVED.columns }, (_, k) => [k, String(k)]), 0);
  at("target").parentElement.hidden = OBSERVED.columns < 2;
  const d_h = LAYERS[0].arrays[`d_${LAYERS[0].words.states[0]}`];
  const said = Array.from(d_h.values.subarray(chosen.row * d_h.columns, (chosen.row + 1) * d_h.columns), Math.abs);
  chosen.unit = said.indexOf(Math.max(...said));
  fillUnits();
  const cuts = PAGE.truncate === null ? "of the whole gradient" : `of the gradient cut every ${PAGE.truncate} rows`;
  at("step-note").textContent = "a is a gate before its activation; d_v is the derivative of the mean loss of all rows with respect to v, "
    + `${cuts}, whatever windows are chosen above. Where a sum runs over all units, its result alone is shown; x is the layer's first input${PAGE.scaled ? ", scaled" : ""}.`;
  fillCell();
  sayVariant();
  drawLanes();
  listen();
  chooseRow(chosen.row);
  drawNext(Object.keys(FIGURES));
}

const prefers = window.matchMedia("(prefers-color-scheme: dark)");
chooseTheme(prefers.matches ? "dark" : "light");
start();
