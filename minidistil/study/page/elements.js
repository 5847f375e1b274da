"use strict";
// Draws the pictures from the data in the page. Nothing is fetched, and texts only ever become text nodes.
const data = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);
const dark = matchMedia("(prefers-color-scheme: dark)");

// ---- elements and numbers

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const bdi = (text) => make("bdi", {}, text);
const number = (x) => make("span", { className: "num" }, shortest(x));

function bytes(base64) {
  const text = atob(base64);
  const found = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) found[i] = text.charCodeAt(i);
  return found;
}

// Arrays stand in the page in the fewest bytes that give back every bit of their float32.
const kinds = {
  float32: [4, (view, i) => view.getFloat32(i, true)],
  float16: [2, (view, i) => {
    const bits = view.getUint16(i, true);
    const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
    const size = exponent === 31 ? (fraction ? NaN : Infinity) : exponent ? 2 ** (exponent - 25) * (1024 + fraction) : 2 ** -24 * fraction;
    return bits >> 15 ? -size : size;
  }],
  bfloat16: [2, (view, i) => {
    const whole = new DataView(new ArrayBuffer(4));
    whole.setUint16(0, view.getUint16(i, true));
    return whole.getFloat32(0);
  }],
  int8: [1, (view, i) => view.getInt8(i)],
  uint8: [1, (view, i) => view.getUint8(i)],
};
const decoded = new Map();
function floats({ at, as = "float32" }) {
  const name = `${at} ${as}`;
  if (!decoded.has(name)) {
    const view = new DataView(bytes(data.arrays[at]).buffer);
    const [size, read] = kinds[as];
    decoded.set(name, Float32Array.from({ length: view.byteLength / size }, (_, i) => read(view, size * i)));
  }
  return decoded.get(name);
}

// The fewest digits that give the float32 back, laid out as minidistil/study/tables.py does.
function shortest(x) {
  if (typeof x === "string") return x;
  if (Number.isNaN(x)) return "NaN";
  if (!Number.isFinite(x)) return x > 0 ? "inf" : "-inf";
  if (x === 0) return Object.is(x, -0) ? "-0" : "0";
  let written = "";
  for (let p = 0; p < 9 && (p === 0 || Math.fround(Number(written)) !== x); p++) written = x.toExponential(p);
  const sign = x < 0 ? "-" : "";
  const [mantissa, power] = written.replace("-", x < 0 ? "" : "-").split("e");
  const digits = mantissa.replace(".", "");
  const exponent = Number(power);
  if (exponent < -5 || exponent > 8) return sign + digits[0] + (digits.length > 1 ? "." + digits.slice(1) : "") + "e" + exponent;
  if (exponent < 0) return sign + "0." + "0".repeat(-exponent - 1) + digits;
  const rest = digits.slice(exponent + 1);
  return sign + digits.slice(0, exponent + 1).padEnd(exponent + 1, "0") + (rest ? "." + rest : "");
}

const brief = (x) => (typeof x === "string" ? x : Math.abs(x) >= 0.0995 ? x.toFixed(2) : x === 0 ? "0" : x.toPrecision(1));
const signed = (x) => (x > 0 ? "+" : "") + brief(x);
const shade = (element, value, tint) => {
  element.style.setProperty("--shade", Math.max(0, Math.min(1, value || 0)).toFixed(3));
  if (tint) element.style.setProperty("--tint", `var(--${tint})`);
};
const most = (values) => Math.max(...Array.from(values, (x) => Math.abs(x) || 0), 1e-30);
const tokens = data.pieces.map((piece) => piece.token);
const layerName = (row) => (row === 0 ? "embeddings" : `after layer ${row - 1}`);

// ---- a set of buttons of which one is chosen; arrows move within it, Tab leaves it

function choice(buttons, columns, choose, start = 0) {
  let at = -1;
  const pick = (i, focus) => {
    if (i < 0 || i >= buttons.length) return;
    if (at >= 0) Object.assign(buttons[at], { tabIndex: -1, ariaPressed: "false" });
    at = i;
    Object.assign(buttons[i], { tabIndex: 0, ariaPressed: "true" });
    if (focus) buttons[i].focus();
    choose(i);
  };
  buttons.forEach((button, i) => {
    Object.assign(button, { tabIndex: -1, ariaPressed: "false", type: "button" });
    button.addEventListener("click", () => pick(i, true));
    button.addEventListener("keydown", (event) => {
      const column = at % columns;
      const steps = { ArrowRight: column + 1 < columns ? 1 : 0, ArrowLeft: column > 0 ? -1 : 0, ArrowDown: columns, ArrowUp: -columns };
      const ends = { Home: 0, End: buttons.length - 1 };
      if (event.ctrlKey || event.altKey || event.metaKey || !(event.key in steps || event.key in ends)) return;
      event.preventDefault();
      pick(event.key in ends ? ends[event.key] : at + steps[event.key], true);
    });
  });
  if (buttons.length) pick(start, false);
  return pick;
}

// A table of buttons: what(row, column) gives {text, small, shade, tint, label}; choose(row, column) is told.
function grid(place, caption, rows, columns, what, choose, start = [0, 0]) {
  const buttons = [];
  const body = make("tbody");
  rows.forEach((heading, row) => {
    const line = make("tr", {}, make("th", { scope: "row" }, bdi(heading)));
    columns.forEach((_, column) => {
      const cell = what(row, column);
      const button = make("button", { title: cell.label }, cell.node || bdi(cell.text));
      button.setAttribute("aria-label", cell.label);
      if (cell.small !== undefined) button.append(make("small", {}, cell.small));
      shade(button, cell.shade, cell.tint);
      buttons.push(button);
      line.append(make("td", {}, button));
    });
    body.append(line);
  });
  const heads = make("tr", {}, make("td"), ...columns.map((text) => make("th", { scope: "col" }, bdi(text))));
  place.replaceChildren(make("table", { className: "pick", "aria-label": caption }, make("thead", {}, heads), body));
  const pick = choice(buttons, columns.length, (i) => choose(Math.floor(i / columns.length), i % columns.length), start[0] * columns.length + start[1]);
  return { buttons, pick };
}

// Bars with their numbers; those below zero are striped and go to the left.
function bars(place, labels, values, choose) {
  const largest = most(values);
  const negative = values.some((x) => x < 0);
  const buttons = labels.map((label, i) => {
    const fill = make("span", { className: values[i] < 0 ? "fill minus" : "fill" });
    const width = (Math.abs(values[i]) / largest) * (negative ? 50 : 100) || 0;
    fill.style.width = `${width}%`;
    fill.style.left = `${negative ? (values[i] < 0 ? 50 - width : 50) : 0}%`;
    return make("button", {}, make("span", { className: "label" }, bdi(label)),
      make("span", { className: negative ? "track" : "track from-left" }, fill),
      make("span", { className: "value" }, (negative && values[i] > 0 ? "+" : "") + shortest(values[i])));
  });
  place.replaceChildren(make("ol", {}, ...buttons.map((button) => make("li", {}, button))));
  choice(buttons, 1, choose || (() => {}));
}
