// One number of the pass, and what it is made of.

function bits(hex) {
  const binary = parseInt(hex, 16).toString(2).padStart(32, "0");
  const part = (tag, title, from, to) => make(tag, { title }, binary.slice(from, to));
  const parts = [part("b", "sign", 0, 1), " ", part("i", "exponent", 1, 9), " ", part("u", "fraction", 9, 32)];
  return make("p", {}, make("span", { className: "bits" }, `${hex} = `, ...parts), make("span", { className: "small" }, " sign, exponent, fraction"));
}

function table(caption, heads, rows, className = "") {
  const line = (cells) => make("tr", {}, ...cells.map((cell, i) => make(i ? "td" : "th", i ? {} : { scope: "row" }, bdi(cell))));
  const top = make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, bdi(text))));
  const whole = make("table", { className }, make("caption", {}, caption), make("thead", {}, top), make("tbody", {}, ...rows.map(line)));
  return make("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": caption }, whole);
}

// Every term of a product as a bar, block by block, and the running totals as steps over them.
function terms(x, w, blocks) {
  const [wide, high] = [720, 190];
  const products = Array.from(x, (value, k) => value * w[k]);
  const at = (k) => ((wide - 20) * k) / products.length; // room for the last step
  const bar = 80 / most(products);
  const running = blocks.map((block) => block.running);
  const step = 80 / most(running);
  const svg = draw("svg", { viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": `The ${products.length} products and the running total; the tables have the numbers` });
  blocks.forEach((block, i) => {
    if (i % 2) svg.append(draw("rect", { class: "block", x: at(block.start), y: 0, width: at(block.stop) - at(block.start), height: high }));
    const path = [];
    for (let k = block.start; k < block.stop; k++) path.push(`M${((at(k) + at(k + 1)) / 2).toFixed(2)} ${high / 2}v${(-products[k] * bar).toFixed(2)}`);
    svg.append(draw("path", { class: "term", d: path.join(""), "stroke-width": Math.max(0.6, 0.7 * at(1)).toFixed(2) }));
  });
  let line = `M0 ${high / 2}`;
  blocks.forEach((block, i) => { line += `H${at(block.stop).toFixed(2)}V${(high / 2 - running[i] * step).toFixed(2)}`; });
  line += `H${wide}`;
  svg.append(draw("path", { class: "axis", d: `M0 ${high / 2}H${wide}` }), draw("path", { class: "running", d: line }));
  const how = make("figcaption", {}, "Thin bars: the products, term by term. Stepped line: the running total, which moves at the end of each block. Each has a scale of its own.");
  return make("figure", {}, svg, how);
}

function operands(cell) {
  const rows = cell.operands.map((operand) => operand.values);
  const length = Math.max(...rows.map((row) => row.length));
  const same = cell.operands.every(({ values, places }) => places || values.length === length);
  const factors = same && cell.recomputed !== null ? { product: [0, 1], "whole-number product": [rows.length - 2, rows.length - 1] }[cell.family] : null;
  const named = cell.operands.map((operand) => operand.name + (operand.index.length ? ` [${operand.index.join(", ")}]` : ""));
  const heads = ["term", ...named, ...(factors ? ["product, not rounded"] : [])];
  const said = ({ values, places }, k) => {
    const at = places ? places.indexOf(k) : k;
    return at in values ? shortest(values[at]) : "";
  };
  const line = (k) => [String(k), ...cell.operands.map((operand) => said(operand, k)), ...(factors ? [String(rows[factors[0]][k] * rows[factors[1]][k])] : [])];
  const picture = factors && cell.blocks.length ? [terms(rows[0], rows[1], cell.blocks)] : [];
  const what = cell.missing ? "The operands that are here" : "The operands whole";
  return [...picture, later(`${what}: ${named.join(" and ")}, ${length} ${length > 1 ? "terms" : "term"}`, () => table("Operands", heads, Array.from({ length }, (_, k) => line(k))))];
}

// Details whose content is made when they are opened.
function later(summary, content) {
  const details = make("details", {}, make("summary", {}, summary));
  details.addEventListener("toggle", () => {
    if (details.open && details.childElementCount === 1) details.append(content());
  });
  return details;
}

function verdict(cell) {
  if (cell.value === null) return "This number is not in this page; the line of Python below tells it.";
  if (cell.agrees === false || cell.checked === false) return "✗ Computed anew in this page, its bits differ from those of the pass.";
  if (cell.checked) return "✓ Computed in this page from these operands; the checksum of all that is beside it is that of the pass.";
  if (cell.agrees) return "✓ Computed anew in this page from these operands, it has the very bits of the pass.";
  return "The number is the pass's own.";
}

function tell(name, index) {
  const cell = pass.origin(name, index);
  const { kind } = pass.matrices.get(name);
  cell.family = kind.startsWith("whole-number product") ? "whole-number product" : ["scores", "context", "narrow product"].includes(kind) ? "product" : kind;
  const parts = [make("h3", {}, `${name} [${index.join(", ")}]`)];
  if (cell.value !== null) parts.push(make("p", { className: "result" }, shortest(cell.value)), bits(hexOf(cell.value)));
  parts.push(make("p", { className: "formula" }, "= ", bdi(cell.formula)), make("p", { className: "verdict" }, verdict(cell)));
  if (cell.missing) parts.push(make("p", {}, `Not told in full here: ${cell.missing}.`));
  const { blocks, steps } = cell;
  if (blocks.length) {
    const rows = blocks.map((block) => [`${block.start} to ${block.stop - 1}`, shortest(block.total), hexOf(block.total), shortest(block.running), hexOf(block.running)]);
    const many = blocks.length > 1 ? `${blocks.length} blocks, each a chain of its own from zero; a block's total is added to the running total` : "one block, a chain from zero";
    parts.push(make("p", {}, `${blocks.at(-1).stop} products were summed in ${many}.`), table("The chain of blocks", ["terms", "total of the block", "bits", "running total", "bits"], rows));
  }
  if (steps.length) parts.push(table("On the way", ["what", "how", "value", "bits"], steps.map(([what, how, x]) => [what, how, shortest(x), hexOf(x)]), "steps"));
  if (cell.operands.length) parts.push(...operands(cell));
  parts.push(make("p", { className: "small" }, "The same from Python, with the model's folder in the place of its name: ", make("code", { className: "python" }, pass.line(name, index))));
  byId("story").replaceChildren(...parts);
}

// ---- a matrix as a map of its cells: one token's row in lines, or one head's square

const WINDOW = 8; // numbers that are written out beside the chosen one
const LEGEND = ["Blue: above zero", "orange: below", "grey: not in this page"];
const JUMPS = 24; // columns that a button leads to

function cellsOf(matrix) {
  const { name, shape, description } = matrix;
  const cube = shape.length === 3;
  const count = shape.at(-1);
  const wide = cube ? count : count > 4096 ? 256 : Math.min(count, 64);
  const high = cube ? shape[1] : Math.ceil(count / wide);
  const side = wide > 128 ? 2 : wide > 64 ? 4 : wide > 16 ? 8 : 16;
  let at = cube ? [data.attention.first[1], Math.min(pass.token, shape[1] - 1), 0] : [Math.min(pass.token, shape[0] - 1), 0];
  const columns = pass.traced(name);
  const named = (i, size) => (size === tokens.length ? `${i} ${tokens[i]}` : String(i));

  const fields = new Map();
  function field(label, axis, size, says) {
    const id = `at-${axis}`;
    const input = size <= 128 ? make("select", { id }, ...Array.from({ length: size }, (_, i) => make("option", { value: String(i) }, says(i)))) : make("input", { id, type: "number", min: "0", max: String(size - 1) });
    input.addEventListener("change", () => {
      const i = Math.trunc(Number(input.value));
      if (i >= 0 && i < size) move(at.with(axis, i));
      else input.value = String(at[axis]);
    });
    fields.set(axis, input);
    return make("span", { className: "field" }, make("label", { htmlFor: id }, label), input);
  }
  const controls = cube
    ? [field("head", 0, shape[0], String), field("row", 1, shape[1], (i) => named(i, shape[1])), field("column", 2, count, (i) => named(i, count))]
    : [field("row", 0, shape[0], (i) => named(i, shape[0])), field("column", 1, count, String)];

  const canvas = make("canvas", { width: wide * side, height: high * side });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `Cells of ${name}, the stronger the larger`);
  const mark = make("div", { className: "mark" });
  const map = make("div", { className: "cellmap", tabIndex: 0, role: "region", "aria-label": `Map of ${name}: arrow keys move to another cell` }, canvas, mark);
  map.style.maxWidth = `${Math.min(30, wide * 1.9)}rem`;
  const near = make("div", { className: "scroll" });
  const cellAt = (line, column) => (cube ? [at[0], line, column] : [at[0], line * wide + column]);
  const there = (line, column) => line >= 0 && line < high && column >= 0 && column < wide && (cube || line * wide + column < count);

  function paint() {
    const context = canvas.getContext("2d");
    const style = getComputedStyle(document.documentElement);
    const colour = (which) => style.getPropertyValue(which);
    const values = [];
    for (let line = 0; line < high; line++) for (let column = 0; column < wide; column++) values.push(there(line, column) ? pass.value(name, cellAt(line, column)) : null);
    const largest = most(values.filter(Number.isFinite));
    context.clearRect(0, 0, canvas.width, canvas.height);
    values.forEach((x, i) => {
      const [line, column] = [Math.floor(i / wide), i % wide];
      if (x === null) {
        context.globalAlpha = there(line, column) ? 0.5 : 0;
        context.fillStyle = colour("--line");
        context.fillRect(column * side, line * side, side, side);
        return;
      }
      context.globalAlpha = Math.sqrt(Math.min(1, Math.abs(x) / largest)) || 0;
      context.fillStyle = colour(x < 0 ? "--warn-line" : "--accent");
      context.fillRect(column * side, line * side, side, side);
      if (columns && side >= 4 && columns.includes(cube ? column : line * wide + column)) {
        context.globalAlpha = 1;
        context.fillStyle = colour("--ink");
        context.fillRect((column + 0.25) * side, (line + 0.7) * side, side / 2, side / 5);
      }
    });
    context.globalAlpha = 1;
  }

  let shown = "";
  function window() {
    const row = at.slice(0, -1);
    const from = Math.floor(at.at(-1) / WINDOW) * WINDOW;
    if (shown === `${row} ${from}`) return;
    shown = `${row} ${from}`;
    const own = Array.from({ length: Math.min(WINDOW, count - from) }, (_, i) => from + i);
    const values = own.map((c) => pass.value(name, [...row, c]));
    const largest = most(values.filter((x) => x !== null));
    const heads = own.map((c) => (cube ? named(c, count) : `column ${c}`));
    const what = (_, i) => {
      const x = values[i];
      const text = x === null ? "not here" : shortest(x);
      return { node: make("span", { className: "num" }, text), tint: x < 0 ? "down" : "up", shade: Math.abs(x || 0) / largest, label: `${name} [${[...row, own[i]].join(", ")}] is ${text}` };
    };
    grid(near, `Cells beside the chosen one in ${name}`, [`[${row.join(", ")}]`], heads, what, (_, i) => move([...row, own[i]]), [0, at.at(-1) - from]);
  }

  let painted = "";
  function move(index) {
    at = index;
    for (const [axis, input] of fields) input.value = String(at[axis]);
    if (painted !== String(at[0])) paint();
    painted = String(at[0]);
    if (row.dataset.of !== String(at.slice(0, -1))) {
      row.open = false;
      [...row.children].slice(1).forEach((old) => old.remove());
      row.dataset.of = String(at.slice(0, -1));
    }
    const [line, column] = cube ? [at[1], at[2]] : [Math.floor(at[1] / wide), at[1] % wide];
    Object.assign(mark.style, { left: `${(100 * column) / wide}%`, top: `${(100 * line) / high}%`, width: `${100 / wide}%`, height: `${100 / high}%` });
    window();
    tell(name, at);
  }
  const step = (by) => {
    const [line, column] = cube ? [at[1], at[2]] : [Math.floor(at[1] / wide), at[1] % wide];
    const [down, right] = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[by];
    if (there(line + down, column + right)) move(cellAt(line + down, column + right));
  };
  map.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    const [line, column] = [Math.floor(((event.clientY - box.top) / box.height) * high), Math.floor(((event.clientX - box.left) / box.width) * wide)];
    if (there(line, column)) move(cellAt(line, column));
  });
  map.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || !event.key.startsWith("Arrow")) return;
    event.preventDefault();
    step(event.key);
  });
  repaintCells = paint;

  const row = later("This row as a table", () => {
    const values = Array.from({ length: count }, (_, c) => pass.value(name, [...at.slice(0, -1), c]));
    return table(`${name} [${at.slice(0, -1).join(", ")}]`, ["column", "value", "bits"], values.map((x, c) => [cube ? named(c, count) : String(c), x === null ? "not here" : shortest(x), x === null ? "" : hexOf(x)]));
  });
  const whole = [];
  if (columns) {
    const told = columns.length ? `of ${columns.length === count ? "every column" : `${columns.length} of ${count} columns`} are here` : "of its columns are not here";
    const jumps = columns.slice(0, JUMPS).map((c) => make("button", { "aria-label": `column ${c}` }, String(c)));
    whole.push(make("p", { className: "small" }, `The weights ${told}${columns.length > JUMPS ? `; the first ${JUMPS} of them` : ""}${columns.length ? ":" : "."}`));
    whole.push(make("div", { className: "jumps", role: "group", "aria-label": "Columns whose weights are here" }, ...jumps));
    choice(jumps, jumps.length, (i) => { if (shown) move(at.with(-1, columns[i])); });
  }
  byId("cells").replaceChildren(make("p", {}, bdi(description)), ...whole, make("div", { className: "fields" }, ...controls), map, make("p", { className: "legend" }, ...LEGEND.map((text) => make("span", {}, text))), near, ...(count <= 4096 ? [row] : []));
  move(columns && columns.length ? at.with(-1, columns[0]) : at);
}

let repaintCells = () => {};
if (pass) {
  const named = [...pass.matrices.values()];
  const buttons = named.map((matrix) => make("button", {}, matrix.name));
  byId("matrices").replaceChildren(make("div", { className: "list", role: "group", "aria-label": "Matrices" }, ...buttons));
  const first = named.findIndex((matrix) => (pass.traced(matrix.name) || []).length);
  choice(buttons, 1, (i) => cellsOf(named[i]), Math.max(0, first));
  dark.addEventListener("change", () => repaintCells());
}
