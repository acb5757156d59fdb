// The figures that Plotly draws. Each function gives data and layout anew from what is chosen.

const CONFIG = { displayModeBar: false, responsive: true, doubleClick: false };
const CIVIDIS = ["#00224e", "#35456c", "#666970", "#948e77", "#c8b866", "#fee838"].map((c, k) => [k / 5, c]);
const MARKS = 100, DEPTH = 1e-6;
const STATES = ["model", "cell", "naive", "truth"];

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const narrow = () => window.innerWidth < 740;
const variant = () => PAGE.variants[chosen.variant];
const here = () => PLACES[chosen.row];
const signed = () => [[0, colour("low")], [0.5, colour("zero")], [1, colour("high")]];

function axis(more = {}) {
  return { gridcolor: colour("grid"), linecolor: colour("line"), zeroline: false, fixedrange: true, ticks: "", ...more };
}

/** Which of the rows shown have a tick: round ones where there are such, else some evenly spaced. */
function ticksAt(many) {
  const last = ROWS.length - 1, power = 10 ** Math.floor(Math.log10(Math.max(ROWS.length / many, 1)));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => ROWS.length / s <= many) ?? power;
  const round = ROWS.map((_, k) => k).filter((k) => ROWS[k] % step === 0);
  if (round.length > 2 && round.length <= 2 * many) return round;
  return [...new Set(Array.from({ length: many }, (_, k) => Math.round((k * last) / Math.max(many - 1, 1))))];
}

/** What is counted along a row axis, as far as there is room. */
const rowTitle = () => (PAGE.name.length > (narrow() ? 20 : 60) ? "row" : `row of ${plain(PAGE.name)}`);

/** An axis of places, whose ticks name rows. */
function rowAxis(more = {}) {
  const last = PLACES.length - 1, at = ticksAt(narrow() ? 4 : 9);
  const range = [PLACES[0] - 0.5, PLACES[last] + 0.5];
  return axis({ range, tickvals: at.map((k) => PLACES[k]), ticktext: at.map((k) => String(ROWS[k])), showgrid: false, ...more });
}

function layout(more) {
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", dragmode: false, hovermode: "closest",
    font: { color: colour("ink"), family: "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif", size: narrow() ? 11 : 13 },
    margin: { l: narrow() ? 46 : 58, r: 10, t: 30, b: 42 },
    hoverlabel: { bgcolor: colour("panel"), font: { color: colour("ink") } },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" },
    ...more,
  };
}

const upright = (x, name, more = {}) => ({
  type: "line", xref: "x", yref: "paper", x0: x, x1: x, y0: 0, y1: 1,
  line: { color: colour(name), width: 1.2, ...more }, layer: "above",
});

/** Resets and borders, unless these are so many that nothing else could be seen. */
function timeMarks() {
  const few = (places) => (places.length <= MARKS ? places : []);
  return [
    ...few(PAGE.reset).map((x) => upright(x - 0.5, "initial", { width: 1.6 })),
    ...few(variant().starts.filter((x) => !PAGE.reset.includes(x))).map((x) => upright(x - 0.5, "cut", { dash: "dash" })),
  ];
}

function line(x, y, name, named, more = {}) {
  return {
    type: "scatter", mode: x.length > 1 ? "lines" : "markers", x, y, name: named, customdata: ROWS,
    line: { color: colour(name), width: 2, ...more.line },
    hovertemplate: `row %{customdata}: %{y:.5g}<extra>${named}</extra>`, ...more.trace,
  };
}

/** A line over places that stops where a segment does. */
function broken(values, name, named, more = {}) {
  const x = [], y = [], rows = [];
  values.forEach((value, k) => {
    if (k && PAGE.reset.some((r) => r > PLACES[k - 1] && r <= PLACES[k])) x.push(PLACES[k] - 0.5), y.push(null), rows.push(null);
    x.push(PLACES[k]), y.push(value), rows.push(ROWS[k]);
  });
  return line(x, y, name, named, { ...more, trace: { customdata: rows, ...more.trace } });
}

function title(text, axisName) {
  const size = narrow() ? 11 : 13;
  return { text, xref: "paper", x: 0, xanchor: "left", yref: `${axisName} domain`, y: 1, yanchor: "bottom", showarrow: false, font: { size }, bgcolor: colour("paper") };
}

function logAxis(series, more = {}) {
  const top = Math.max(...series.flat().filter((v) => v > 0), Number.MIN_VALUE);
  const low = Math.max(DEPTH * top, Math.min(...series.flat().filter((v) => v > 0), top));
  return axis({ type: "log", range: [Math.log10(low / 1.5), Math.log10(top * 1.8)], exponentformat: "power", dtick: 1, nticks: 6, ...more });
}

const FIGURES = {
  series() {
    const loss = list(PAGE.loss).map((v, k) => (WEIGHT[k] > 0 ? v : null));
    const ahead = PAGE.horizon === 1 ? ", a row later" : PAGE.horizon ? `, ${PAGE.horizon} rows later` : "";
    const data = [
      broken(column(OBSERVED, chosen.target), "truth", `${SAID_TARGET}${ahead}`),
      broken(column(PREDICTED, chosen.target), "naive", SAID_PREDICTED, { line: { width: 2.5 } }),
      { type: "bar", x: PLACES, y: loss, yaxis: "y2", name: "loss of the row", customdata: ROWS, marker: { color: colour("cell") },
        hovertemplate: "row %{customdata}: %{y:.5g}<extra>loss</extra>" },
    ];
    return { data, layout: layout({
      height: 420, bargap: 0.1, shapes: timeMarks(), yaxis: axis({ domain: [0.42, 1] }), yaxis2: axis({ domain: [0, 0.32], rangemode: "tozero" }),
      xaxis: rowAxis({ anchor: "y2", title: { text: rowTitle() } }),
    }) };
  },

  gates() {
    const layer = LAYERS[chosen.layer], order = layer.orders[chosen.order];
    const units = order.map((k) => `unit ${layer.units[k]}`), { shown } = layer.words;
    const share = 1 / shown.length, gap = 0.035 * (6 / shown.length), rows = units.map(() => ROWS);
    const data = [], axes = {}, titles = [];
    shown.forEach(([name, said, low, high], k) => {
      const suffix = k ? k + 1 : "", edge = low === null ? ownScale(layer, name) : high, isShare = low === 0;
      data.push({
        type: "heatmap", x: PLACES, y: units, z: order.map((unit) => column(layer.arrays[name], unit)), yaxis: `y${suffix}`,
        zmin: isShare ? 0 : -edge, zmax: edge, colorscale: isShare ? CIVIDIS : signed(), showscale: false,
        customdata: rows, hovertemplate: `row %{customdata}, %{y}: ${name} = %{z:.5g}<extra></extra>`,
      });
      axes[`yaxis${suffix}`] = axis({
        domain: [1 - (k + 1) * share, 1 - k * share - gap], autorange: "reversed", showticklabels: false, showgrid: false, type: "category",
        title: { text: "unit", standoff: 4 },
      });
      titles.push(title(said, `y${suffix}`));
    });
    const xaxis = rowAxis({ anchor: `y${shown.length}`, title: { text: rowTitle() } });
    return { data, layout: layout({
      height: Math.round(((narrow() ? 860 : 1000) * shown.length) / 6), ...axes, xaxis, annotations: titles, shapes: [...unitMarks(order), ...timeMarks()],
      margin: { l: narrow() ? 30 : 40, r: 10, t: 10, b: 42 },
    }) };
  },

  norms() {
    const whole = LAYERS[chosen.layer].norm, cut = variant().norms[chosen.layer], { states } = LAYERS[chosen.layer].words;
    const drawn = [[whole, "whole", { width: 1.5, dash: "dot" }], [cut, "windows", { width: 2.5 }]].flatMap(
      ([norms, said, style]) => states.map((part, k) => [positive(list(norms[part])), STATES[k % STATES.length], `‖d_${part}‖, ${said}`, style]));
    const curves = drawn.map(([values]) => values);
    const data = drawn.map(([values, name, said, style]) => broken(values, name, said, { line: style }));
    return { data, layout: layout({
      height: 360, shapes: timeMarks(), yaxis: logAxis(curves), xaxis: rowAxis({ title: { text: rowTitle() } }),
      margin: { l: narrow() ? 50 : 64, r: 10, t: narrow() ? 60 : 34, b: 42 },
    }) };
  },

  reach() {
    const held = LAYERS[chosen.layer].reach, [part] = LAYERS[chosen.layer].words.states, matrix = unpack(held[part]), z = [];
    const top = Math.max(...[0, ...matrix.values].filter((v) => v > 0), Number.MIN_VALUE);
    for (let t = 0; t < matrix.rows; t++) {
      const row = Array.from(matrix.values.subarray(t * matrix.columns, (t + 1) * matrix.columns));
      z.push(row.map((v) => (v > 0 ? Math.log10(v) : null)));
    }
    // Lines of the rows that are not scored stay empty, where each of the others has one.
    const all = held.every ? Array.from({ length: PAGE.all_rows }, (_, t) => t) : held.at;
    const lines = held.every ? all.map((t) => z[held.at.indexOf(t)] ?? held.states.map(() => null)) : z;
    document.getElementById("reach-of").textContent = `‖∂ loss(t) / ∂ ${part}(s)‖`;
    document.getElementById("reach-low").textContent = show(DEPTH * top, 2);
    document.getElementById("reach-high").textContent = show(top, 2);
    const first = list(variant().first), stairs = { x: [], y: [] };
    first.forEach((x, t) => { stairs.x.push(x - 0.5, x - 0.5), stairs.y.push(t - 0.5, t + 0.5); });
    const edge = (name, width, named, more) => ({
      type: "scatter", mode: "lines", ...stairs, line: { color: colour(name), width }, hoverinfo: "skip", name: named, ...more,
    });
    const ticks = rowAxis();
    return { data: [
      { type: "heatmap", x: held.states, y: all, z: lines, zmin: Math.log10(DEPTH * top), zmax: Math.log10(top), colorscale: CIVIDIS,
        showscale: false, hovertemplate: "loss %{y}, state %{x}: 10^%{z:.2f}<extra></extra>" },
      edge("paper", 5, "", { showlegend: false }), edge("initial", 2.5, "how far the windows reach"),
    ], layout: layout({
      height: 440, xaxis: rowAxis({ title: { text: "row s of the state" } }),
      yaxis: { ...ticks, range: [ticks.range[1], ticks.range[0]], title: { text: "row t of the loss" } }, showlegend: true,
      margin: { l: narrow() ? 56 : 70, r: 10, t: 30, b: 42 },
    }) };
  },

  profile() {
    const layer = LAYERS[chosen.layer], whole = positive(list(layer.profile[layer.words.states[0]]));
    const kept = positive(list(variant().profiles[chosen.layer])), own = ownReach(layer);
    const far = (values) => values.reduce((last, v, k) => (v > DEPTH * (whole[0] || 1) ? k : last), 1);
    const { length, lookback } = variant(), lags = whole.map((_, k) => k);
    const lag = (values, name, said, more) => line(lags, values, name, said, { ...more, trace: {
      hovertemplate: `lag %{x}: %{y:.5g}<extra>${said}</extra>`, customdata: null } });
    const end = Math.max(Math.min(Math.max(far(whole), 1.2 * (length + lookback)), lags.length - 1), 1);
    return { data: [
      lag(whole, "model", "whole, mean over t", { line: { dash: "dot", width: 2 } }),
      lag(kept, "model", "kept by the windows", { line: { width: 2.5 } }),
      { ...lag(own.values, "chosen", own.said, { line: { width: 1.5 } }), connectgaps: true },
    ], layout: layout({
      height: 440, xaxis: axis({ range: [0, end], title: { text: "lag t − s (rows)" } }), yaxis: logAxis([whole, kept]),
      shapes: [upright(length + lookback - 0.5, "cut", { dash: "dash" })],
      annotations: length + lookback - 0.5 <= end ? [{ text: "cut for all", x: length + lookback - 0.5, y: 0.99, yref: "paper", yanchor: "top",
        xanchor: "right", showarrow: false, textangle: -90, font: { color: colour("cut"), size: 11 } }] : [],
      margin: { l: narrow() ? 50 : 60, r: 10, t: narrow() ? 60 : 50, b: 42 },
    }) };
  },

  bias() {
    const { lengths, cosine, norm_ratio } = PAGE.bias, { length, lookback } = variant();
    const last = lengths[lengths.length - 1], ticks = lengths.filter((n) => n === last || n < 0.7 * last);
    const dotted = (values, name, said, symbol) => ({
      type: "scatter", mode: "lines+markers", x: lengths, y: values, name: said, line: { color: colour(name), width: 2 },
      marker: { size: 7, symbol }, hovertemplate: `windows of %{x}: %{y:.5g}<extra>${said}</extra>`,
    });
    const point = (y, said, symbol) => ({
      type: "scatter", mode: "markers", x: [length], y: [y], name: said, marker: { size: 15, symbol, color: colour("initial"), line: { width: 2 } },
      hovertemplate: `${plain(variant().label)}: %{y:.5g}<extra>${said}</extra>`,
    });
    const top = Math.max(...norm_ratio.filter((v) => v !== null), variant().norm_ratio ?? 1, 1);
    return { data: [
      dotted(cosine, "model", "cosine", "circle"), dotted(norm_ratio, "naive", "norm ratio", "square"),
      point(variant().cosine, "cosine, chosen windows", "circle-open"), point(variant().norm_ratio, "norm ratio, chosen windows", "square-open"),
    ], layout: layout({
      height: 380, xaxis: axis({ type: "log", tickvals: ticks, ticktext: ticks.map(String), tickangle: 0, title: { text: "window length (rows)" } }),
      yaxis: top > 4 ? axis({ type: "log" }) : axis({ rangemode: "tozero" }),
      shapes: [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: 1, y1: 1, line: { color: colour("cut"), dash: "dot", width: 1.2 } }],
      margin: { l: narrow() ? 46 : 58, r: 10, t: narrow() ? 80 : 34, b: 42 },
    }) };
  },
};

const OBSERVED = unpack(PAGE.observed), PREDICTED = unpack(PAGE.predicted), WEIGHT = list(PAGE.weight);
const SAID_PREDICTED = PAGE.classes ? "predicted class" : "predicted";
const SAID_TARGET = PAGE.classes ? "target class" : PAGE.horizon ? "what comes" : "target";
const ROW_FIGURES = ["series", "gates", "norms", "reach"];

/** The size that most of a value without bounds stays within: the colours' end. */
function ownScale(layer, name) {
  const sizes = Float64Array.from(layer.arrays[name].values, Math.abs).sort();
  const most = sizes[Math.floor(0.98 * (sizes.length - 1))] || sizes[sizes.length - 1] || 1;
  document.getElementById(`${name}-low`).textContent = show(-most, 2);
  document.getElementById(`${name}-high`).textContent = show(most, 2);
  return most;
}

/** The reach of the chosen row's own loss by lag: of the nearest row that the matrix has, none where it is not scored. */
function ownReach(layer) {
  const { at, rows, states, since } = layer.reach, matrix = unpack(layer.reach[layer.words.states[0]]), place = here(), found = new Array(PAGE.all_rows).fill(null);
  if (!(WEIGHT[chosen.row] > 0)) return { values: found, said: "chosen row: not scored" };
  const t = at.reduce((best, a, k) => (Math.abs(a - place) < Math.abs(at[best] - place) ? k : best), 0);
  states.forEach((s, k) => { if (s <= at[t] && s >= since[t]) found[at[t] - s] = matrix.values[t * matrix.columns + k]; });
  return { values: positive(found), said: at[t] === place ? "loss of the chosen row" : `loss of row ${rows[t]}, the nearest` };
}

function unitMarks(order) {
  const at = order.indexOf(chosen.unit);
  return LAYERS[chosen.layer].words.shown.map((_, k) => ({
    type: "rect", xref: "paper", yref: k ? `y${k + 1}` : "y", x0: 0, x1: 1, y0: at - 0.5, y1: at + 0.5,
    line: { color: colour("chosen"), width: 1.2 },
  }));
}

const DRAWN = new Set();

function draw(...names) {
  for (const name of names) {
    const { data, layout } = FIGURES[name]();
    document.getElementById(name).style.height = `${layout.height}px`;
    Plotly.react(name, data, layout, CONFIG);
    if (!DRAWN.has(name) && ROW_FIGURES.includes(name)) {
      addMarks(name);
      placeMarks(name);
      document.getElementById(name).on("plotly_click", (event) => clicked(name, event.points[0]));
    }
    DRAWN.add(name);
  }
}

/** Lines over a figure that say which row is chosen: to move them, nothing has to be drawn anew. */
function addMarks(name) {
  const figure = document.getElementById(name), holder = document.createElement("div");
  holder.className = "holder";
  figure.replaceWith(holder);
  holder.append(figure);
  for (const way of name === "reach" ? ["upright", "level"] : ["upright"]) {
    const mark = document.createElement("div");
    mark.className = `here ${way}`;
    holder.append(mark);
  }
  figure.on("plotly_afterplot", () => placeMarks(name));
}

function placeMarks(name) {
  const figure = document.getElementById(name), { l, t, w, h } = figure._fullLayout._size;
  const share = ([from, to]) => (here() - from) / (to - from);
  const [upright, level] = figure.parentElement.querySelectorAll(".here");
  Object.assign(upright.style, { left: `${l + w * share(figure.layout.xaxis.range)}px`, top: `${t}px`, height: `${h}px` });
  if (level) Object.assign(level.style, { left: `${l}px`, top: `${t + h * (1 - share(figure.layout.yaxis.range))}px`, width: `${w}px` });
}

/** Move the marks of the chosen row, nothing else. */
function markRow() {
  for (const name of ROW_FIGURES) if (DRAWN.has(name)) placeMarks(name);
  if (!DRAWN.has("profile")) return;
  const { values, said } = ownReach(LAYERS[chosen.layer]);
  Plotly.restyle("profile", { y: [values], name: said, hovertemplate: `lag %{x}: %{y:.5g}<extra>${said}</extra>` }, [2]);
}
