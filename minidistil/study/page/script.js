"use strict";
// Draws the pictures from the data in the page. Nothing is fetched, and texts only ever become text nodes.
(() => {
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

const name = (text) => make("bdi", {}, text);
const number = (x) => make("span", { className: "num" }, shortest(x));

function bytes(base64) {
  const text = atob(base64);
  const found = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) found[i] = text.charCodeAt(i);
  return found;
}

const decoded = new Map();
function floats(array) {
  if (!decoded.has(array.at)) {
    const view = new DataView(bytes(data.arrays[array.at]).buffer);
    decoded.set(array.at, Float32Array.from({ length: view.byteLength / 4 }, (_, i) => view.getFloat32(4 * i, true)));
  }
  return decoded.get(array.at);
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
    const line = make("tr", {}, make("th", { scope: "row" }, name(heading)));
    columns.forEach((_, column) => {
      const cell = what(row, column);
      const button = make("button", { title: cell.label }, cell.node || name(cell.text));
      button.setAttribute("aria-label", cell.label);
      if (cell.small !== undefined) button.append(make("small", {}, cell.small));
      shade(button, cell.shade, cell.tint);
      buttons.push(button);
      line.append(make("td", {}, button));
    });
    body.append(line);
  });
  const heads = make("tr", {}, make("td"), ...columns.map((text) => make("th", { scope: "col" }, name(text))));
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
    return make("button", {}, make("span", { className: "label" }, name(label)),
      make("span", { className: negative ? "track" : "track from-left" }, fill),
      make("span", { className: "value" }, (negative && values[i] > 0 ? "+" : "") + shortest(values[i])));
  });
  place.replaceChildren(make("ol", {}, ...buttons.map((button) => make("li", {}, button))));
  choice(buttons, 1, choose || (() => {}));
}

// ---- attention

const attention = (() => {
  const part = data.attention;
  const [layers, heads, n] = part.probabilities.shape;
  const all = part.probabilities.shades && bytes(part.probabilities.shades);
  const sums = floats(part.row_sums);
  const ink = () => (dark.matches ? [140, 196, 255] : [8, 48, 107]);
  let token = 0;
  let chosen = part.first;
  const whole = (layer, head) => part.probabilities.whole[`${layer}.${head}`];
  const shaded = (layer, head) => {
    const exact = whole(layer, head);
    if (exact) return Float32Array.from(floats(exact), (p) => p * 255);
    return all.subarray((layer * heads + head) * n * n, (layer * heads + head + 1) * n * n);
  };
  function paint(canvas, layer, head) {
    canvas.width = canvas.height = n;
    const context = canvas.getContext("2d");
    const image = context.createImageData(n, n);
    const [red, green, blue] = ink();
    // The square root lets small shares be seen; the numbers are in the table.
    shaded(layer, head).forEach((p, i) => image.data.set([red, green, blue, 255 * Math.sqrt(p / 255)], 4 * i));
    context.putImageData(image, 0, 0);
  }
  const pattern = (layer, head) => part.patterns[layer * heads + head];
  const canvases = [];
  const what = (layer, head) => {
    const canvas = make("canvas");
    canvas.setAttribute("aria-hidden", "true");
    canvases.push([canvas, layer, head]);
    const found = pattern(layer, head);
    const label = `layer ${layer} head ${head}: ${found.name ? `${found.name} ${brief(found.share)}` : "no pattern of those measured"}`;
    return { node: make("span", { className: "small-head" }, canvas), small: part.marks[found.name] || "·", shade: 0, label };
  };
  const large = make("canvas");
  large.setAttribute("role", "img");
  const band = make("div", { className: "band" });
  const square = make("div", { className: "square" }, large, band);
  const repaint = () => { canvases.forEach((one) => paint(...one)); paint(large, ...chosen); };

  function show() {
    const [layer, head] = chosen;
    const found = pattern(layer, head);
    byId("head-title").textContent = `Layer ${layer}, head ${head}` + (found.name ? `: ${found.name}, ${brief(found.share)} of it` : "");
    paint(large, layer, head);
    large.setAttribute("aria-label", `Attention of layer ${layer}, head ${head}, ${n} by ${n} tokens; the table below has its numbers`);
    row();
  }
  function row() {
    const [layer, head] = chosen;
    const exact = whole(layer, head);
    const values = shaded(layer, head).slice(token * n, (token + 1) * n);
    band.style.top = `${(100 * token) / n}%`;
    band.style.height = `${100 / n}%`;
    links(values);
    const strongest = [...values.keys()].sort((a, b) => values[b] - values[a] || a - b).slice(0, 3);
    const told = strongest.flatMap((to) => [" ", name(tokens[to]), " ", exact ? number(floats(exact)[token * n + to]) : make("span", { className: "num" }, `about ${(values[to] / 255).toFixed(2)}`), ","]);
    told.pop();
    byId("head-readout").replaceChildren(make("b", {}, name(tokens[token])), " looks most at", ...told, ". Its row adds up to ", number(sums[(layer * heads + head) * n + token]), ".");
  }
  function links(values) {
    const step = 22;
    const at = (i) => step * i + step / 2;
    const svg = draw("svg", { viewBox: `0 0 360 ${step * n}`, role: "group", "aria-label": "Tokens, and where the chosen one looks" });
    for (let to = 0; to < n; to++) {
      if (values[to] < 2) continue;
      svg.append(draw("path", { class: "link", d: `M126 ${at(token)} C180 ${at(token)} 180 ${at(to)} 234 ${at(to)}`, "stroke-width": (0.5 + (values[to] / 255) * 9).toFixed(2), "stroke-opacity": (0.25 + (0.75 * values[to]) / 255).toFixed(3) }));
    }
    const short = (text) => (Array.from(text).length > 15 ? Array.from(text).slice(0, 14).join("") + "…" : text);
    for (let i = 0; i < n; i++) {
      const left = draw("text", { x: 120, y: at(i) + 5, "text-anchor": "end", class: i === token ? "on" : "quiet" }, short(tokens[i]));
      const share = draw("text", { x: 240, y: at(i) + 5, class: values[i] >= 25 ? "on" : "quiet" }, short(tokens[i]));
      const hit = draw("rect", { class: "hit", x: 0, y: at(i) - step / 2, width: 360, height: step, "data-token": i });
      hit.addEventListener("click", () => choose(i));
      svg.append(left, share, hit);
    }
    byId("links").replaceChildren(svg);
  }
  function choose(i) {
    token = Math.max(0, Math.min(n - 1, i));
    row();
  }
  large.addEventListener("click", (event) => choose(Math.floor((event.offsetY / large.clientHeight) * n)));
  byId("links").addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    choose(token + step);
  });
  byId("matrix").replaceChildren(square);
  const behind = byId("t-head").closest("details");
  function table() {
    const [layer, head] = chosen;
    const exact = whole(layer, head);
    const own = byId("t-head");
    own.caption.textContent = `Attention of layer ${layer}, head ${head}: each row is the token that looks` + (exact ? "" : ". The float32 of this head are not in this page");
    const values = exact && floats(exact);
    [...own.tBodies[0].rows].forEach((line, i) => {
      for (let j = 0; j < n; j++) line.cells[j + 1].firstChild.textContent = exact ? shortest(values[i * n + j]) : "–";
      line.cells[n + 1].firstChild.textContent = shortest(sums[(layer * heads + head) * n + i]);
    });
  }
  behind.addEventListener("toggle", () => behind.open && table());
  const range = (count) => Array.from({ length: count }, (_, i) => i);
  grid(byId("heads"), "Heads, a row for every layer", range(layers).map((i) => `layer ${i}`), range(heads).map((i) => `head ${i}`), what, (layer, head) => {
    chosen = [layer, head];
    show();
    if (behind.open) table();
  }, part.first);
  repaint();
  dark.addEventListener("change", repaint);
  return { range };
})();

// ---- interventions

function answers(place, title, before, after) {
  const nodes = [make("b", {}, title), ": "];
  before.labels.forEach((label, i) => nodes.push(i ? "; " : "", name(label), " ", number(floats(before.values)[i]), " → ", number(after[i])));
  place.replaceChildren(...nodes);
}

if (data.interventions) {
  const { answer, heads, replaced, removed } = data.interventions;
  const count = answer.labels.length;
  const readout = byId("intervention-readout");
  const part = (values, i) => floats(values).slice(i * count, (i + 1) * count);
  for (const changed of [removed, replaced]) {
    if (!changed) continue;
    const how = changed.with_token ? `replaced by ${changed.with_token}` : changed.action;
    bars(byId(changed.action), changed.tokens.map((i) => `${i} ${tokens[i]}`), [...floats(changed.change)], (i) => answers(readout, `${tokens[changed.tokens[i]]} ${how}`, answer, part(changed.values, i)));
  }
  if (heads) {
    const change = floats(heads.change);
    const wide = heads.change.shape[1];
    const largest = most(change);
    const at = (row, column) => change[row * wide + column];
    grid(byId("heads-off"), "Change of the answer with one head off", heads.layers.map((i) => `layer ${i}`), attention.range(wide).map((i) => `head ${i}`), (row, column) => ({
      text: signed(at(row, column)), shade: Math.abs(at(row, column)) / largest, tint: at(row, column) < 0 ? "down" : "up",
      label: `layer ${heads.layers[row]} head ${column} off: ${signed(at(row, column))}`,
    }), (row, column) => answers(readout, `Layer ${heads.layers[row]} head ${column} off`, answer, part(heads.values, row * wide + column)));
  }
  bars(byId("answer"), answer.labels, [...floats(answer.values)]);
}

// ---- the lens

if (data.lens) {
  const { kind, words, probabilities } = data.lens;
  const [rows, columns, wide] = probabilities.shape;
  const values = floats(probabilities);
  const at = (row, column) => values.subarray((row * columns + column) * wide, (row * columns + column + 1) * wide);
  const labels = (row, column) => (kind === "span" ? ["start", "end"] : kind === "cosine" ? ["cosine"] : kind === "replaced" ? ["put in another's place"] : words[row][column]);
  const names = columns === tokens.length && columns > 1 ? tokens : columns === 1 ? ["the whole text"] : tokens.slice(0, columns);
  grid(byId("lens-grid"), "What each layer would say", attention.range(rows).map(layerName), names, (row, column) => {
    const found = at(row, column);
    const best = kind === "span" && found[1] > found[0] ? 1 : 0;
    const text = labels(row, column)[best];
    return { text: kind === "cosine" || kind === "replaced" ? brief(found[0]) : text, small: kind === "cosine" || kind === "replaced" ? undefined : brief(found[best]), shade: found[best], label: `${layerName(row)}, ${names[column]}: ${text} ${brief(found[best])}` };
  }, (row, column) => {
    const found = at(row, column);
    const list = labels(row, column).map((label, i) => make("tr", {}, make("th", { scope: "row" }, name(label)), make("td", { className: "num" }, shortest(found[i]))));
    byId("lens-readout").replaceChildren(make("b", {}, `${layerName(row)}, `, name(names[column])), make("table", {}, make("tbody", {}, ...list)));
  }, [rows - 1, 0]);
}

// ---- one number traced

function bits(hex) {
  const binary = parseInt(hex, 16).toString(2).padStart(32, "0");
  return make("span", { className: "bits" }, `${hex} = `, make("b", { title: "sign" }, binary[0]), " ", make("i", { title: "exponent" }, binary.slice(1, 9)), " ", make("u", { title: "fraction" }, binary.slice(9)));
}

function table(caption, heads, rows) {
  const line = (cells) => make("tr", {}, ...cells.map((cell, i) => make(i ? "td" : "th", i ? {} : { scope: "row" }, cell)));
  return make("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": caption }, make("table", {}, make("caption", {}, caption),
    make("thead", {}, make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text)))), make("tbody", {}, ...rows.map(line))));
}

function tell(matrix, cell) {
  const place = `[${cell.index.join(", ")}]`;
  const parts = [make("h3", {}, `${matrix.name} ${place}`), make("p", { className: "result" }, shortest(cell.value.value)), make("p", {}, bits(cell.value.bits), make("span", { className: "small" }, " sign, exponent, fraction")),
    make("p", {}, cell.formula), make("p", {}, cell.agrees ? "✓ Computed anew from these operands, it has the very bits of the pass." : "✗ Computed anew from these operands, its bits differ from those of the pass.")];
  if (cell.blocks.length) {
    parts.push(make("p", {}, `${cell.blocks.at(-1).stop} products were summed in ${cell.blocks.length} ${cell.blocks.length > 1 ? "blocks" : "block"}: each is one chain from zero, and its total is added to the running total.`));
    parts.push(table("The chain of blocks", ["terms", "total of the block", "bits", "running total", "bits"], cell.blocks.map((block) => [`${block.start} to ${block.stop - 1}`, shortest(block.total.value), block.total.bits, shortest(block.running.value), block.running.bits])));
  }
  if (cell.steps.length) parts.push(table("On the way", ["what", "how", "value", "bits"], cell.steps.map((step) => [step.name, step.formula, shortest(step.number.value), step.number.bits])));
  if (cell.operands.length) {
    const rows = cell.operands.map((operand) => floats(operand.values));
    const length = Math.max(...rows.map((row) => row.length));
    const product = cell.kind === "product" && rows.length === 2 && rows[0].length === rows[1].length;
    const heads = ["term", ...cell.operands.map((operand) => `${operand.name}${operand.index.length ? ` [${operand.index.join(", ")}]` : ""}`), ...(product ? ["product, before the sum rounds it"] : [])];
    const details = make("details", {}, make("summary", {}, `The operands, ${length} ${length > 1 ? "terms" : "term"}`));
    details.addEventListener("toggle", () => {
      if (!details.open || details.childElementCount > 1) return;
      details.append(table("Operands", heads, Array.from({ length }, (_, k) => [String(k), ...rows.map((row) => (k < row.length ? shortest(row[k]) : "")), ...(product ? [String(rows[0][k] * rows[1][k])] : [])])));
    });
    parts.push(details);
  }
  byId("story").replaceChildren(...parts);
}

if (data.numbers.length) {
  const buttons = data.numbers.map((matrix) => make("button", {}, matrix.name));
  byId("matrices").replaceChildren(make("div", { className: "list", role: "group", "aria-label": "Matrices" }, ...buttons));
  choice(buttons, 1, (i) => {
    const matrix = data.numbers[i];
    const cells = matrix.cells.map((cell) => make("button", {}, make("span", { className: "num" }, shortest(cell.value.value)), make("small", {}, `[${cell.index.join(", ")}]`)));
    byId("cells").replaceChildren(make("p", {}, make("b", {}, matrix.name), ` [${matrix.shape.join(" × ")}]: `, matrix.description), make("div", { className: "cellset", role: "group", "aria-label": "Cells" }, ...cells));
    if (cells.length) choice(cells, cells.length, (j) => tell(matrix, matrix.cells[j]));
    else byId("story").replaceChildren();
  });
}

// ---- neighbours

if (data.neighbours) {
  const { cosines, points, explained, sentences } = data.neighbours;
  const [layers, count] = cosines.shape;
  const numbered = sentences.map((_, i) => String(i + 1));
  const show = (layer) => {
    const xy = floats(points).subarray(layer * count * 2, (layer + 1) * count * 2);
    const [across, up] = floats(explained).subarray(layer * 2, layer * 2 + 2);
    const reach = most(xy);
    const svg = draw("svg", { viewBox: "-115 -115 230 230", role: "img", "aria-label": `Map of the word's vectors, ${layerName(layer)}; the table below has its points` }, draw("path", { class: "axis", d: "M-110 0H110M0 -110V110" }));
    for (let i = 0; i < count; i++) {
      const [x, y] = [(xy[2 * i] / reach) * 92, (-xy[2 * i + 1] / reach) * 92];
      svg.append(draw("circle", { class: "dot", cx: x, cy: y, r: 9 }), draw("text", { x, y: y + 4, "text-anchor": "middle" }, numbered[i]));
    }
    byId("map").replaceChildren(svg);
    const values = floats(cosines).subarray(layer * count * count, (layer + 1) * count * count);
    const tellPair = (i, j) => byId("near-readout").replaceChildren(make("b", {}, layerName(layer)), `: the map keeps ${brief(across)} (across) and ${brief(up)} (up) of the differences. Sentences ${i + 1} and ${j + 1}: cosine `, number(values[i * count + j]), ".");
    grid(byId("cosines"), `Cosines, ${layerName(layer)}`, numbered, numbered, (i, j) => ({ text: brief(values[i * count + j]), shade: Math.max(0, values[i * count + j]), label: `sentences ${i + 1} and ${j + 1}: ${brief(values[i * count + j])}` }), tellPair, [0, count > 1 ? 1 : 0]);
  };
  const buttons = attention.range(layers).map((row) => make("button", {}, layerName(row)));
  byId("near-layers").setAttribute("role", "group");
  byId("near-layers").setAttribute("aria-label", "Layer");
  byId("near-layers").replaceChildren(...buttons);
  choice(buttons, layers, show, layers - 1);
}

// ---- attribution, and the page as a whole

data.attribution.forEach((one, i) => bars(byId(`attribution-${i}`), one.tokens.map((token) => `${token} ${tokens[token]}`), [...floats(one.values)]));
for (const element of document.querySelectorAll(".script")) element.hidden = false;
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
})();
