// One step with its numbers filled in: the equations forward, and beside each what inverts it.

/** Every number of the chosen unit at the chosen row, by name. */
function stepNumbers() {
  const layer = LAYERS[chosen.layer], v = {};
  for (const [name, array] of Object.entries(layer.arrays)) v[name] = array.values[chosen.row * array.columns + chosen.unit];
  for (const gate of layer.words.gates) v[`${gate}_bias`] = layer.bias[gate][chosen.unit];
  v.x = layer.x[chosen.row];
  v.d_x = layer.d_x[chosen.row];
  v.after = v[layer.words.states[0]];
  v.reset = RESET[chosen.row] === 1;
  v.ends = v.reset ? "a reset: nothing goes further back" : CUT[chosen.row] ? "cut: nothing goes further back" : "";
  for (const part of layer.words.states) v[`to_${part}`] = v.ends ? 0 : v[`d_${part}_before`];
  for (const gate of layer.words.from_x) v[`d_w_${gate}`] = v[`d_${gate}_pre`] * v.x;
  return v;
}

/** The numbers of an equation: {v} inside a sum or a product, [v] by itself. */
function filled({ numbers, reset, ends }, v) {
  if (ends && v.ends) return v.ends;
  return (reset && v.reset ? reset : numbers).replace(/\{(\w+)\}/g, (_, name) => inside(v[name])).replace(/\[(\w+)\]/g, (_, name) => show(v[name]));
}

/** An equation and the place of its numbers. */
function equation(made) {
  const line = document.createElement("p"), code = document.createElement("code"), place = document.createElement("span");
  line.className = "equation";
  place.className = "filled";
  code.textContent = made.said;
  line.append(code, place);
  return [line, made, place];
}

let LINES = [];

/** The equations of the chosen layer. */
function buildStep() {
  const body = document.querySelector("#step tbody");
  body.replaceChildren();
  LINES = [];
  for (const [number, forward, backward] of LAYERS[chosen.layer].step) {
    const row = document.createElement("tr"), head = document.createElement("th");
    head.scope = "row";
    head.textContent = `(${number})`;
    row.append(head);
    for (const [lines, said] of [[forward, "forward"], [backward, `backward, (${number}′)`]]) {
      const cell = document.createElement("td"), mark = document.createElement("span");
      mark.className = "mark";
      mark.textContent = said;
      cell.append(mark);
      for (const made of lines.map(equation)) {
        cell.append(made[0]);
        LINES.push(made);
      }
      row.append(cell);
    }
    body.append(row);
  }
}

function fillStep() {
  const v = stepNumbers(), layer = LAYERS[chosen.layer];
  for (const [, made, place] of LINES) {
    const result = document.createElement("b");
    result.textContent = show(v[made.name]);
    result.dataset.value = made.name;
    place.replaceChildren(`= ${filled(made, v)} = `, result);
  }
  const when = PAGE.times ? `, ${PAGE.times[chosen.row]}` : "";
  const named = (what, { values, columns }) => {
    const value = values[chosen.row * columns + chosen.target];
    return `${what} ${PAGE.classes && Number.isInteger(value) ? value : show(value)}`;
  };
  const target = `${named(SAID_PREDICTED, PREDICTED)}, ${named(SAID_TARGET, OBSERVED)}`;
  const loss = WEIGHT[chosen.row] > 0 ? `loss ${show(LOSS[chosen.row])}` : "not scored";
  document.getElementById("step-said").textContent =
    `Row ${ROWS[chosen.row]}${when}; layer ${layer.index}, unit ${layer.units[chosen.unit]}: ${target}, ${loss}.`;
}

const LOSS = list(PAGE.loss);
