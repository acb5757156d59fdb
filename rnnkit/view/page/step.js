// One step with its numbers filled in: six equations forward, and beside each what inverts it.

const LETTERS = ["i", "f", "g", "o"];
const STEP = [
  ["1", [
    ["h⁻ = h(t−1), or h₀ after a reset", (v) => ["h_before", v.reset ? "h₀" : "from the row before", v.h_before]],
    ["c⁻ = c(t−1), or c₀ after a reset", (v) => ["c_before", v.reset ? "c₀" : "from the row before", v.c_before]],
  ], [
    ["d_h(later) of row t−1 = d_h⁻, or 0 after a reset", (v) => ["to_h", v.ends || "d_h⁻", v.ends ? 0 : v.d_h_before]],
    ["d_c(later) of row t−1 = d_c⁻, or 0 after a reset", (v) => ["to_c", v.ends || "d_c⁻", v.ends ? 0 : v.d_c_before]],
  ]],
  ["2", LETTERS.map((k) => [`a_${k} = w_x x + w_h h⁻ + b`, (v) => [`${k}_pre`,
    `${inside(v[`${k}_from_x`])} + ${inside(v[`${k}_from_h`])} + ${inside(v[`${k}_bias`])}`, v[`${k}_pre`]]]), [
    ["d_h⁻ = Σ w_h d_a, all units and gates", (v) => ["d_h_before", "w_hᵀ d_a", v.d_h_before]],
    ["d_x = Σ w_x d_a, all units and gates", (v) => ["d_x", "w_xᵀ d_a", v.d_x]],
    ...LETTERS.map((k) => [`d_w_x of ${k}, this row's share = d_a_${k} x`, (v) => [`d_w_${k}`,
      `${inside(v[`d_${k}_pre`])} · ${inside(v.x)}`, v[`d_${k}_pre`] * v.x]]),
  ]],
  ["3", LETTERS.map((k) => [`${k} = ${k === "g" ? "tanh" : "σ"}(a_${k})`, (v) => [k,
    `${k === "g" ? "tanh" : "σ"}(${show(v[`${k}_pre`])})`, v[k]]]),
    LETTERS.map((k) => (k === "g"
      ? ["d_a_g = d_g (1 − g²)", (v) => ["d_g_pre", `${inside(v.d_g)} · (1 − ${inside(v.g)}²)`, v.d_g_pre]]
      : [`d_a_${k} = d_${k} ${k} (1 − ${k})`, (v) => [`d_${k}_pre`,
        `${inside(v[`d_${k}`])} · ${inside(v[k])} · (1 − ${inside(v[k])})`, v[`d_${k}_pre`]]]))],
  ["4", [
    ["c = f c⁻ + i g", (v) => ["c", `${inside(v.f)} · ${inside(v.c_before)} + ${inside(v.i)} · ${inside(v.g)}`, v.c]],
  ], [
    ["d_f = d_c c⁻", (v) => ["d_f", `${inside(v.d_c)} · ${inside(v.c_before)}`, v.d_f]],
    ["d_i = d_c g", (v) => ["d_i", `${inside(v.d_c)} · ${inside(v.g)}`, v.d_i]],
    ["d_g = d_c i", (v) => ["d_g", `${inside(v.d_c)} · ${inside(v.i)}`, v.d_g]],
    ["d_c⁻ = d_c f", (v) => ["d_c_before", `${inside(v.d_c)} · ${inside(v.f)}`, v.d_c_before]],
  ]],
  ["5", [
    ["h = o tanh(c)", (v) => ["h", `${inside(v.o)} · tanh(${show(v.c)}) = ${inside(v.o)} · ${inside(v.tanh_c)}`, v.h]],
  ], [
    ["d_o = d_h tanh(c)", (v) => ["d_o", `${inside(v.d_h)} · ${inside(v.tanh_c)}`, v.d_o]],
    ["d_c = d_c(later) + d_h o (1 − tanh²(c))", (v) => ["d_c",
      `${inside(v.d_c_later)} + ${inside(v.d_h)} · ${inside(v.o)} · (1 − ${inside(v.tanh_c)}²)`, v.d_c]],
  ]],
  ["6", [
    ["h(t), c(t) = h, c", (v) => ["after", `handed to the row after: c = ${show(v.c)}, h`, v.h]],
  ], [
    ["d_h = d_y + d_h(later)", (v) => ["d_h", `${inside(v.d_y)} + ${inside(v.d_h_later)}`, v.d_h]],
  ]],
];

/** Every number of the chosen unit at the chosen row, by name. */
function stepNumbers() {
  const layer = LAYERS[chosen.layer], v = {};
  for (const [name, array] of Object.entries(layer.arrays)) v[name] = array.values[chosen.row * array.columns + chosen.unit];
  for (const gate of LETTERS) v[`${gate}_bias`] = layer.bias[gate][chosen.unit];
  v.x = layer.x[chosen.row];
  v.d_x = layer.d_x[chosen.row];
  v.reset = RESET[chosen.row] === 1;
  v.ends = v.reset ? "a reset: nothing goes further back" : CUT[chosen.row] ? "cut: nothing goes further back" : "";
  return v;
}

/** An equation and the place of its numbers. */
function equation([said, fill]) {
  const line = document.createElement("p"), code = document.createElement("code"), filled = document.createElement("span");
  line.className = "equation";
  filled.className = "filled";
  code.textContent = said;
  line.append(code, filled);
  return [line, fill, filled];
}

const LINES = [];

function buildStep() {
  const body = document.querySelector("#step tbody");
  for (const [number, forward, backward] of STEP) {
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
  for (const [, fill, place] of LINES) {
    const [name, numbers, value] = fill(v), result = document.createElement("b");
    result.textContent = show(value);
    result.dataset.value = name;
    place.replaceChildren(`= ${numbers} = `, result);
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
