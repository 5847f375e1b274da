// The numbers of the pass that the page has or computes, and what each is made of.

const pass = (() => {
  if (!data.numbers) return null;
  const matrices = new Map(data.numbers.matrices.map(([name, shape, description, kind, of, weights]) => [name, { name, shape, description, kind, of, weights }]));
  const key = (name, axis, at) => `${name} ${axis} ${at}`;
  const kept = new Map(data.numbers.kept.map(([name, axis, at, array, as]) => [key(name, axis, at), { at: array, as }]));
  const checks = new Map(data.numbers.checks.map(([name, axis, at, crc]) => [key(name, axis, at), crc]));
  const heads = data.subject.heads;
  const n = tokens.length;
  const stored = (name, axis, at) => {
    const found = kept.get(key(name, axis, at));
    return found ? floats(found) : null;
  };
  const all = (values) => (values.every((value) => value !== null) ? values : null);
  const once = (make) => {
    const known = new Map();
    return (...given) => {
      const name = given.join(" ");
      if (!known.has(name)) known.set(name, make(...given));
      return known.get(name);
    };
  };

  // A head's queries, keys or values, of all tokens.
  const head = once((name, h) => {
    const own = stored(name, "head", h);
    const rows = own || all(Array.from({ length: n }, (_, t) => stored(name, "row", t)));
    if (own || !rows) return own;
    const d = rows[0].length / heads;
    return Float32Array.from({ length: n * d }, (_, i) => rows[Math.floor(i / d)][h * d + (i % d)]);
  });
  const part = (x, i) => x.subarray((i * x.length) / n, ((i + 1) * x.length) / n);
  const column = (x, c) => Float32Array.from({ length: n }, (_, i) => x[(i * x.length) / n + c]);

  // A head's row of scores: kept with its token, or computed.
  const scores = once((name, h, t) => {
    const own = stored(name, "row", t);
    if (own) return own.subarray(h * n, (h + 1) * n);
    const [q, k] = matrices.get(name).of.map((of) => head(of, h));
    if (!q || !k || matrices.get(name).kind !== "scores") return null;
    const scale = f32(1 / Math.sqrt(q.length / n));
    return Float32Array.from({ length: n }, (_, j) => f32(dot(part(q, t), part(k, j), edgesOf(q.length / n)) * scale));
  });
  const soft = once((name, h, t) => {
    const row = scores(name, h, t);
    return row && softmax(row);
  });
  const attended = (name, h, t) => {
    const own = stored(name, "row", t);
    const { kind, of } = matrices.get(name);
    if (kind === "scores") return scores(name, h, t);
    if (own) return own.subarray(h * n, (h + 1) * n);
    const found = kind === "softmax" ? soft(of[0], h, t) : null;
    return found && found.exponentials.map((x) => f32(x * found.reciprocal));
  };

  // All of a head's scores or probabilities, where what they are computed from is here.
  const square = once((name, h) => {
    if (!matrices.has(name)) return null;
    const rows = all(Array.from({ length: n }, (_, t) => attended(name, h, t)));
    return rows && Float32Array.from({ length: n * n }, (_, i) => rows[Math.floor(i / n)][i % n]);
  });

  // A token's row of an intermediate, kept or computed; null where the page has it not.
  const row = once((name, t) => {
    const { kind, of, weights, shape } = matrices.get(name);
    if (t >= shape.at(-2)) return null;
    const own = stored(name, "row", t);
    if (own || shape.length === 3) return own;
    if (!["sum", "layer norm", "gain and shift", "activation"].includes(kind)) return null;
    const parts = all(of.map((one) => row(one, t)));
    if (!parts) return null;
    if (kind === "sum") return parts.slice(1).reduce((total, one) => total.map((x, c) => f32(x + one[c])), parts[0]);
    const [x] = parts;
    if (kind === "activation") return ACTIVATIONS[weights] ? x.map(ACTIVATIONS[weights]) : null;
    const [gain, shift] = ["weight", "bias"].map((which) => stored(`${weights}.${which}`, "vector", 0));
    if (!gain) return null;
    if (kind === "gain and shift") return x.map((value, c) => f32(f32(value * gain[c]) + shift[c]));
    const { mean, rstd } = moments(x, stored(`${weights}.eps`, "vector", 0)[0]);
    return x.map((value, c) => fma(f32(f32(value - mean) * rstd), gain[c], shift[c]));
  });
  const context = (name, t, c) => {
    const { kind, of, shape } = matrices.get(name);
    if (kind !== "context" || matrices.get(of[0]).kind !== "softmax") return null;
    const d = shape[1] / heads;
    const v = head(of[1], Math.floor(c / d));
    const found = v && soft(of[2], Math.floor(c / d), t);
    return found && { v: column(v, c % d), ...found };
  };
  const product = ({ exponentials, v, reciprocal }) => f32(dot(exponentials, v, contextEdges(n)) * reciprocal);

  // A cell's value, or null.
  function value(name, index) {
    const { kind, shape } = matrices.get(name);
    if (shape.length === 3) {
      const found = attended(name, index[0], index[1]);
      return found && found[index[2]];
    }
    const [t, c] = index;
    const found = row(name, t);
    if (found) return found[c];
    if (kind === "context") {
      const parts = context(name, t, c);
      return parts && product(parts);
    }
    const d = shape[1] / heads;
    const own = Number.isInteger(d) && stored(name, "head", Math.floor(c / d));
    return own ? own[t * d + (c % d)] : null;
  }

  // Whether what was computed of a row, or of a head, has the checksum of the pass; null where there is none.
  const agrees = once((name, axis, at) => {
    const crc = checks.get(key(name, axis, at));
    if (crc === undefined) return null;
    const { shape } = matrices.get(name);
    const range = (count) => Array.from({ length: count }, (_, i) => i);
    let cells;
    if (axis === "row") cells = shape.length === 3 ? range(heads).flatMap((h) => [...attended(name, h, at)]) : row(name, at);
    else if (shape.length === 3) cells = range(n).flatMap((t) => [...attended(name, at, t)]);
    else cells = range(n).flatMap((t) => range(shape[1] / heads).map((c) => value(name, [t, (at * shape[1]) / heads + c])));
    return crc32(cells) === crc;
  });
  function checked(name, index) {
    const { shape } = matrices.get(name);
    const [h, t] = shape.length === 3 ? index : [Math.floor((index[1] * heads) / shape[1]), index[0]];
    if (stored(name, "row", t)) return null; // it is the pass's own
    const found = agrees(name, "row", t);
    return found === null ? agrees(name, "head", h) : found;
  }

  // What a cell is made of: its value or null, and as much of its origin as there is here.
  function origin(name, index) {
    const matrix = matrices.get(name);
    const { kind, of, weights } = matrix;
    const told = { name, index, value: value(name, index), operands: [], blocks: [], steps: [], recomputed: null, missing: "" };
    const step = (what, how, x) => told.steps.push([what, how, x]);
    const operand = (what, at, values, places) => values && told.operands.push({ name: what, index: at, values, places });
    tellers[kind]({ ...matrix, told, step, operand, t: index.at(-2), c: index.at(-1), h: index[0], x: matrix.shape.length === 2 && of.length ? row(of[0], index[0]) : null });
    told.agrees = told.recomputed === null || told.value === null ? null : bitsOf(told.recomputed) === bitsOf(told.value);
    told.checked = told.value === null ? null : checked(name, index);
    return told;
  }
  const absent = (what) => `${what} not in this page`;
  function products({ told, step, operand }, left, right, edges, bias, after) {
    operand(...left);
    operand(...right);
    if (bias !== undefined) step("bias", bias[0], bias[1]);
    told.formula = bias === undefined ? "x . w" : "bias + x . w";
    if (after) {
      const [what, how, factor] = after;
      told.formula = `(${told.formula}) * ${what}`;
      if (!left[2] || !right[2]) return;
      told.blocks = summed(left[2], right[2], edges);
      step("sum", "x . w", told.blocks.at(-1).running);
      step(what, how, factor);
      told.recomputed = f32(told.blocks.at(-1).running * factor);
    } else if (left[2] && right[2]) {
      told.blocks = summed(left[2], right[2], edges, bias && bias[1]);
      told.recomputed = told.blocks.at(-1).running;
    }
  }
  const tellers = {
    "look-up": ({ told, name, t, c, weights, step, operand }) => {
      const id = { "embeddings.word": data.pieces[t].id, "embeddings.position": data.pieces[t].position, "embeddings.token_type": data.pieces[t].token_type }[name];
      told.formula = `${weights}[${id}, ${c}]`;
      const table = row(name, t);
      operand(weights, [id], table);
      const scale = stored(`${weights}.weight_scale`, "weight", id);
      told.recomputed = table && table[c];
      if (!table || !scale) return;
      const code = rint(table[c] / scale[0]);
      step("code", `${weights}.weight[${id}, ${c}]`, code);
      step("scale", `${weights}.weight_scale[${id}]`, scale[0]);
      told.recomputed = f32(code * scale[0]);
    },
    sum: ({ told, of, t, c, step }) => {
      told.formula = of.join(" + ");
      const parts = all(of.map((one) => value(one, [t, c])));
      if (!parts) return;
      told.recomputed = parts.reduce((total, x, i) => {
        if (i > 1) step("running total", of.slice(0, i).join(" + "), total);
        step(of[i], of[i], x);
        return i ? f32(total + x) : x;
      }, 0);
    },
    trigrams: ({ told, shape, t, c, operand }) => {
      const wide = shape[1] / 3;
      const token = t + [1, 0, -1][Math.floor(c / wide)];
      const words = token >= 0 && token < n ? row("embeddings.word", token) : null;
      told.formula = token >= 0 && token < n ? `embeddings.word[${token}, ${c % wide}]` : "0, as there is no such token";
      operand("embeddings.word", [token], words);
      if (words) told.recomputed = words[c % wide];
      else if (token < 0 || token >= n) told.recomputed = 0;
    },
    product: (cell) => {
      const { told, name, of, weights, t, c, x } = cell;
      const bare = stored(weights, "weight", c);
      const w = bare || stored(`${weights}.weight`, "weight", c);
      const biased = name !== "masked_lm.product"; // whose bias is added afterwards
      const bias = biased && stored(`${weights}.bias`, "weight", c);
      if (!w) told.missing = absent(`the weights of column ${c} are`);
      else if (!x) told.missing = absent(`row ${t} of ${of[0]} is`);
      products(cell, [of[0], [t], x], [bare ? weights : `${weights}.weight`, [c], w], x && edgesOf(x.length), bias ? [`${weights}.bias[${c}]`, bias[0]] : undefined);
      if (biased) told.formula = "bias + x . w"; // also where the bias is not here
    },
    "narrow product": ({ told, of, weights, t, c, x, shape, step, operand }) => {
      const [w, bias] = ["weight", "bias"].map((which) => stored(`${weights}.${which}`, "weight", c));
      const count = shape[1];
      const lanes = count === 1 || c < 4 * Math.floor(count / 4) ? 4 : 8;
      told.formula = "x . w + bias";
      operand(of[0], [t], x);
      operand(`${weights}.weight`, [c], w);
      if (!w) told.missing = absent(`the weights of column ${c} are`);
      else if (!x) told.missing = absent(`row ${t} of ${of[0]} is`);
      if (!w || !x) return;
      const found = narrowDot(x, w, lanes, count === 1 ? 1 : 0);
      step("dot product", `x . w in ${lanes} lanes, each term rounded, the lanes added as a tree`, found);
      step("bias", `${weights}.bias[${c}]`, bias[0]);
      told.recomputed = f32(found + bias[0]);
    },
    "whole-number product": ({ told, kind, of, weights, t, c, x, step, operand }) => {
      const [w, bias, scale] = ["weight", "bias", "weight_scale"].map((which) => stored(`${weights}.${which}`, "weight", c));
      const smooth = stored(`${weights}.input_smooth`, "vector", 0);
      const some = kind.endsWith("kept columns");
      told.formula = "fma(sum, scale, bias), rounded once" + (some ? "; then y = fma(x, weight_kept, y), column by column" : "");
      operand(of[0], [t], x);
      if (!w) told.missing = absent(`the weights of column ${c} are`);
      else if (!x) told.missing = absent(`row ${t} of ${of[0]} is`);
      if (!w || !x) return;
      operand(`${weights}.input_smooth`, [], smooth);
      const beside = stored(`${weights}.weight_kept`, "weight", c);
      const columns = some ? [...smooth.keys()].filter((k) => smooth[k] === 0) : [];
      operand(`${weights}.weight_kept`, [c], beside, columns);
      const coded = codesOf(smooth ? x.map((value, k) => f32(value * smooth[k])) : x);
      operand(`codes of ${of[0]}`, [t], coded.codes);
      operand(`${weights}.weight`, [c], w);
      const total = coded.codes.reduce((sum, code, k) => sum + code * w[k], 0); // whole numbers, exact in float64
      const sums = w.reduce((sum, code) => sum + code, 0);
      const whole = f32(total - coded.zero * sums);
      const both = f32(coded.scale * scale[0]);
      step("scale of the row", `(largest - smallest number of the row${smooth ? " times its smoothing" : ""}${some ? " (0 in kept columns)" : ""}, zero among them) / 255`, coded.scale);
      step("zero point", "the code of 0 in this row", coded.zero);
      step("sum", `sum of code * weight - zero point * sum of weights = ${total} - ${coded.zero} * ${sums}`, whole);
      step("scale of the weights", `${weights}.weight_scale[${c}]`, scale[0]);
      step("scale", "scale of the row * scale of the weights", both);
      step("bias", `${weights}.bias[${c}]`, bias[0]);
      told.recomputed = fma(whole, both, bias[0]);
      if (some) step("y of whole numbers", "fma(sum, scale, bias)", told.recomputed);
      columns.forEach((k, i) => {
        const how = `fma(${shortest(x[k])}, ${shortest(beside[i])}, ${shortest(told.recomputed)})`;
        told.recomputed = fma(x[k], beside[i], told.recomputed);
        step(`y with column ${k}`, how, told.recomputed);
      });
    },
    bias: ({ told, of, weights, t, c, step }) => {
      const bias = stored(`${weights}.bias`, "weight", c);
      const before = value(of[0], [t, c]);
      told.formula = `${of[0]} + bias`;
      if (before !== null) step(of[0], of[0], before);
      if (bias) step("bias", `${weights}.bias[${c}]`, bias[0]);
      else told.missing = absent(`the bias of column ${c} is`);
      if (bias && before !== null) told.recomputed = f32(before + bias[0]);
    },
    "layer norm": ({ told, of, weights, t, c, x, step, operand }) => {
      told.formula = "fma(normalized, gain, shift), rounded once";
      operand(of[0], [t], x);
      const [gain, shift, eps] = ["weight", "bias", "eps"].map((which) => stored(`${weights}.${which}`, "vector", 0));
      if (!x || !gain) return;
      const { mean, rstd } = moments(x, eps[0]);
      const normalized = f32(f32(x[c] - mean) * rstd);
      step("x", `${of[0]}[${t}, ${c}]`, x[c]);
      step("mean", "mean of the row", mean);
      step("rstd", `1 / sqrt(variance of the row + ${shortest(eps[0])})`, rstd);
      step("normalized", "(x - mean) * rstd", normalized);
      step("gain", `${weights}.weight[${c}]`, gain[c]);
      step("shift", `${weights}.bias[${c}]`, shift[c]);
      told.recomputed = fma(normalized, gain[c], shift[c]);
    },
    "gain and shift": ({ told, of, weights, c, x, step }) => {
      told.formula = "x * gain + shift";
      const [gain, shift] = ["weight", "bias"].map((which) => stored(`${weights}.${which}`, "vector", 0));
      if (!x || !gain) return;
      step("x", of[0], x[c]);
      step("gain", `${weights}.weight[${c}]`, gain[c]);
      step("x * gain", "x * gain", f32(x[c] * gain[c]));
      step("shift", `${weights}.bias[${c}]`, shift[c]);
      told.recomputed = f32(f32(x[c] * gain[c]) + shift[c]);
    },
    activation: ({ told, of, weights, t, c, step }) => {
      const formulas = { gelu: "x/2 (1 + erf(x / sqrt 2))", relu: "max(x, 0)", tanh: "tanh(x)", silu: "x / (1 + exp(-x))", linear: "x" };
      told.formula = formulas[weights] || `${weights}(x)`;
      const x = value(of[0], [t, c]);
      if (x === null) return;
      step("x", of[0], x);
      if (ACTIVATIONS[weights]) told.recomputed = ACTIVATIONS[weights](x);
      else told.missing = `the steps of ${weights} are not told in this page`;
    },
    scores: (cell) => {
      const { told, of, h, t, c } = cell;
      const [q, k] = of.map((one) => head(one, h));
      const wide = matrices.get(of[0]).shape[1] / heads;
      const own = row(of[0], t);
      const query = q ? part(q, t) : own && own.subarray(h * wide, (h + 1) * wide);
      const other = row(of[1], c);
      const keys = k ? part(k, c) : other && other.subarray(h * wide, (h + 1) * wide);
      products(cell, [of[0], [t, h], query], [of[1], [c, h], keys], edgesOf(wide), undefined, ["scale", `1 / sqrt(${wide})`, f32(1 / Math.sqrt(wide))]);
      if (!told.blocks.length) told.missing = absent(`the ${query ? "key" : keys ? "query" : "query and the key"} of head ${h} ${query || keys ? "is" : "are"}`);
    },
    softmax: ({ told, of, h, t, c, step, operand }) => {
      told.formula = "exponential * reciprocal";
      const found = soft(of[0], h, t);
      if (!found) return;
      const own = scores(of[0], h, t);
      operand(of[0], [h, t], own);
      step("score", `${of[0]}[${h}, ${t}, ${c}]`, own[c]);
      step("row maximum", "largest score of the row", found.top);
      step("exponential", "exp(score - row maximum)", found.exponentials[c]);
      step("row sum", "sum of the row's exponentials, in 8 lanes", found.sum);
      step("reciprocal", "1 / row sum", found.reciprocal);
      told.recomputed = f32(found.exponentials[c] * found.reciprocal);
    },
    context: (cell) => {
      const { told, name, of, t, c, shape } = cell;
      const h = Math.floor((c * heads) / shape[1]);
      const found = context(name, t, c);
      const weights = soft(of[2], h, t);
      products(cell, [`exponentials of ${of[2]}`, [h, t], weights && weights.exponentials], [of[1], [c], found && found.v], contextEdges(n), undefined, ["reciprocal", "1 / sum of the row's exponentials", weights && weights.reciprocal]);
      if (!found) told.missing = absent(`the values of head ${h} are`);
    },
    patched: ({ told }) => { told.formula = "put in the place of what was computed"; },
  };
  tellers["whole-number product with kept columns"] = tellers["whole-number product"];

  const line = (name, index) => `minidistil.study.origin(minidistil.trace(minidistil.load(${JSON.stringify(data.subject.name)}${data.subject.precision === data.subject.default_precision ? "" : `, precision="${data.subject.precision}"`}), ${data.texts.map((text) => JSON.stringify(text)).join(", ")}), ${JSON.stringify(name)}, (${index.join(", ")}))`;
  const traced = (name) => {
    const { kind, weights } = matrices.get(name);
    if (kind !== "bias" && !kind.includes("product")) return null;
    const which = kind === "bias" ? ".bias" : ".weight";
    const columns = [];
    for (let c = 0; c < matrices.get(name).shape[1]; c++) if (kept.has(key(weights + which, "weight", c)) || (kind === "product" && kept.has(key(weights, "weight", c)))) columns.push(c);
    return columns;
  };
  return { matrices, value, square, origin, line, traced: once(traced), token: data.numbers.token };
})();
