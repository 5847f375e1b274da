// One number of the pass, and what it is made of.

function bits(hex) {
  const binary = parseInt(hex, 16).toString(2).padStart(32, "0");
  const part = (tag, title, from, to) => make(tag, { title }, binary.slice(from, to));
  const parts = [part("b", "sign", 0, 1), " ", part("i", "exponent", 1, 9), " ", part("u", "fraction", 9, 32)];
  return make("p", {}, make("span", { className: "bits" }, `${hex} = `, ...parts), make("span", { className: "small" }, " sign, exponent, fraction"));
}

function table(caption, heads, rows) {
  const line = (cells) => make("tr", {}, ...cells.map((cell, i) => make(i ? "td" : "th", i ? {} : { scope: "row" }, bdi(cell))));
  const top = make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, bdi(text))));
  const whole = make("table", {}, make("caption", {}, caption), make("thead", {}, top), make("tbody", {}, ...rows.map(line)));
  return make("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": caption }, whole);
}

// Every term of a product as a bar, block by block, and the running totals as steps over them.
function terms(x, w, blocks) {
  const [wide, high] = [720, 190];
  const products = Array.from(x, (value, k) => value * w[k]);
  const at = (k) => ((wide - 20) * k) / products.length; // room for the last step
  const bar = 80 / most(products);
  const running = blocks.map((block) => block.running.value);
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
  const rows = cell.operands.map((operand) => floats(operand.values));
  const length = Math.max(...rows.map((row) => row.length));
  const product = cell.kind === "product" && rows.length === 2 && rows[0].length === rows[1].length;
  const named = cell.operands.map((operand) => operand.name + (operand.index.length ? ` [${operand.index.join(", ")}]` : ""));
  const heads = ["term", ...named, ...(product ? ["product, not rounded"] : [])];
  const line = (k) => [String(k), ...rows.map((row) => (k < row.length ? shortest(row[k]) : "")), ...(product ? [String(rows[0][k] * rows[1][k])] : [])];
  const details = make("details", {}, make("summary", {}, `The operands whole: ${named.join(" and ")}, ${length} ${length > 1 ? "terms" : "term"}`));
  details.addEventListener("toggle", () => {
    if (details.open && details.childElementCount === 1) details.append(table("Operands", heads, Array.from({ length }, (_, k) => line(k))));
  });
  const picture = product && cell.blocks.length && cell.blocks.at(-1).stop === length ? [terms(rows[0], rows[1], cell.blocks)] : [];
  return [...picture, details];
}

function tell(cell) {
  const agrees = cell.agrees ? "✓ Computed anew from these operands, it has the very bits of the pass." : "✗ Computed anew from these operands, its bits differ from those of the pass.";
  const parts = [make("h3", {}, `${cell.name} [${cell.index.join(", ")}]`), make("p", { className: "result" }, shortest(cell.value.value)), bits(cell.value.bits), make("p", { className: "formula" }, "= ", bdi(cell.formula)), make("p", {}, agrees)];
  const { blocks, steps } = cell;
  if (blocks.length) {
    const rows = blocks.map((block) => [`${block.start} to ${block.stop - 1}`, shortest(block.total.value), block.total.bits, shortest(block.running.value), block.running.bits]);
    const many = blocks.length > 1 ? `${blocks.length} blocks, each a chain of its own from zero; a block's total is added to the running total` : "one block, a chain from zero";
    parts.push(make("p", {}, `${blocks.at(-1).stop} products were summed in ${many}.`), table("The chain of blocks", ["terms", "total of the block", "bits", "running total", "bits"], rows));
  }
  if (steps.length) parts.push(table("On the way", ["what", "how", "value", "bits"], steps.map((step) => [step.name, step.formula, shortest(step.number.value), step.number.bits])));
  if (cell.operands.length) parts.push(...operands(cell));
  byId("story").replaceChildren(...parts);
}

// The traced cells as a part of their matrix where they are one, else in a row.
function cellsOf(matrix) {
  const { cells, shape } = matrix;
  const said = matrix.description.startsWith(matrix.name) ? matrix.description : `${matrix.name} [${shape.join(", ")}]: ${matrix.description}`;
  const place = make("div", { className: "scroll" });
  byId("cells").replaceChildren(make("p", {}, bdi(said)), place);
  const first = (cell) => cell.index.slice(0, -1).join(", ");
  const rows = [...new Set(cells.map(first))];
  const columns = [...new Set(cells.map((cell) => cell.index.at(-1)))];
  const token = (size, i) => (size === tokens.length ? ` ${tokens[i]}` : "");
  const heading = (text) => `[${text}]` + (shape.length > 1 ? token(shape.at(-2), Number(text.split(", ").at(-1))) : "");
  const largest = most(cells.map((cell) => Number(cell.value.value)));
  const shown = (cell) => ({ node: make("span", { className: "num" }, shortest(cell.value.value)), tint: cell.value.value < 0 ? "down" : "up", shade: Math.abs(cell.value.value) / largest, label: `${matrix.name} [${cell.index.join(", ")}] is ${shortest(cell.value.value)}` });
  if (rows.length * columns.length === cells.length) {
    const find = (row, column) => cells.find((cell) => first(cell) === rows[row] && cell.index.at(-1) === columns[column]);
    grid(place, `Cells of ${matrix.name}`, rows.map(heading), columns.map((i) => (shape.length === 3 ? `${i}${token(shape[2], i)}` : `column ${i}`)), (row, column) => shown(find(row, column)), (row, column) => tell(find(row, column)));
  } else {
    grid(place, `Cells of ${matrix.name}`, [""], cells.map((cell) => `[${cell.index.join(", ")}]`), (_, i) => shown(cells[i]), (_, i) => tell(cells[i]));
  }
}

const traced = data.numbers.filter((matrix) => matrix.cells.length);
if (traced.length) {
  const buttons = traced.map((matrix) => make("button", {}, matrix.name));
  byId("matrices").replaceChildren(make("div", { className: "list", role: "group", "aria-label": "Matrices" }, ...buttons));
  const product = traced.findIndex((matrix) => matrix.cells.some((cell) => cell.blocks.length));
  choice(buttons, 1, (i) => cellsOf(traced[i]), Math.max(0, product));
}
