"use strict";
// The page's numbers: arrays out of base64, and how a number is written.

const PAGE = JSON.parse(document.getElementById("numbers").textContent);
const KINDS = { float64: Float64Array, float32: Float32Array, int32: Int32Array };

/** A packed array as { values, rows, columns }, values a typed array by rows. */
function unpack(held) {
  const text = atob(held.data), bytes = new Uint8Array(text.length);
  for (let k = 0; k < text.length; k++) bytes[k] = text.charCodeAt(k);
  const values = new KINDS[held.dtype](bytes.buffer);
  return { values, rows: held.shape[0], columns: held.shape.length > 1 ? held.shape[1] : 1 };
}

/** The values of a packed array alone, as a plain array: NaN stays NaN. */
const list = (held) => Array.from(unpack(held).values);

/** Column k of an array, a number a row. */
function column(array, k) {
  const found = new Array(array.rows);
  for (let row = 0; row < array.rows; row++) found[row] = array.values[row * array.columns + k];
  return found;
}

/** A number to so many digits as the page promises. */
function show(value, digits = PAGE.digits) {
  if (value === null || Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 1e-3 && size < 1e6 ? value.toPrecision(digits) : value.toExponential(digits - 1);
  return text.replace(/-/g, "−");
}

/** The same where it stands inside a sum or a product. */
const inside = (value) => (value < 0 ? `(${show(value)})` : show(value));

/** Text that a figure shows as it is. */
const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;");

/** What a logarithmic axis has no place for becomes a gap. */
const positive = (values) => values.map((v) => (v > 0 ? v : null));

const ROWS = list(PAGE.rows), PLACES = list(PAGE.places);
const RESET = list(PAGE.is_reset), CUT = list(PAGE.is_cut);
const LAYERS = PAGE.layers.map((held) => {
  const arrays = {}, bias = {};
  for (const [name, packed] of Object.entries(held.arrays)) arrays[name] = unpack(packed);
  for (const [gate, packed] of Object.entries(held.bias)) bias[gate] = list(packed);
  return { ...held, arrays, bias, x: list(held.x), d_x: list(held.d_x) };
});

/** What is chosen: a row as its number among those shown, a unit as its column. */
const chosen = { row: 0, layer: 0, unit: 0, order: "similar", variant: 0, target: 0 };
