// The pictures of attention, interventions, lens, neighbours and attribution.

// ---- attention

const attention = (() => {
  const part = data.attention;
  const [layers, heads, n] = part.probabilities.shape;
  const alphabet = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"];
  const levels = new Map(alphabet.map((letter, i) => [letter, (i / 63) ** 2]));
  const all = part.probabilities.shades && Float32Array.from(part.probabilities.shades, (letter) => levels.get(letter));
  const sums = floats(part.row_sums);
  const ink = () => (dark.matches ? [140, 196, 255] : [8, 48, 107]);
  let token = 0;
  let chosen = part.first;
  const kept = (layer, head) => {
    const found = part.probabilities.whole[`${layer}.${head}`];
    return found && floats(found);
  };
  // A head's float32: kept, or computed from its queries and keys.
  const whole = (layer, head) => kept(layer, head) || (pass && pass.square(`layer.${layer}.attention.probabilities`, head));
  const shaded = (layer, head) => {
    const exact = kept(layer, head);
    if (exact) return exact;
    return all.subarray((layer * heads + head) * n * n, (layer * heads + head + 1) * n * n);
  };
  function paint(canvas, layer, head) {
    canvas.width = canvas.height = n;
    const context = canvas.getContext("2d");
    const image = context.createImageData(n, n);
    const [red, green, blue] = ink();
    // The square root lets small shares be seen; the numbers are in the table.
    shaded(layer, head).forEach((p, i) => image.data.set([red, green, blue, 255 * Math.sqrt(p)], 4 * i));
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
    byId("head-title").textContent = `Layer ${layer}, head ${head}` + (found.name ? `: ${found.name}, ${brief(found.share)} of its attention` : "");
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
    byId("matrix").querySelectorAll(".down-axis span").forEach((label, i) => label.classList.toggle("on", i === token));
    links(values);
    const strongest = [...values.keys()].sort((a, b) => values[b] - values[a] || a - b).slice(0, 3);
    const told = strongest.flatMap((to) => [" ", bdi(tokens[to]), " ", exact ? number(exact[token * n + to]) : make("span", { className: "num" }, `about ${values[to].toFixed(2)}`), ","]);
    told.pop();
    byId("head-readout").replaceChildren(make("b", {}, bdi(tokens[token])), " looks most at", ...told, ". Its row adds up to ", number(sums[(layer * heads + head) * n + token]), ".");
  }
  function links(values) {
    const step = 22;
    const at = (i) => step * i + step / 2;
    const svg = draw("svg", { viewBox: `0 0 360 ${step * n}`, role: "group", "aria-label": "Tokens, and where the chosen one looks" });
    for (let to = 0; to < n; to++) {
      if (values[to] < 0.008) continue;
      svg.append(draw("path", { class: "link", d: `M126 ${at(token)} C180 ${at(token)} 180 ${at(to)} 234 ${at(to)}`, "stroke-width": (0.5 + values[to] * 9).toFixed(2), "stroke-opacity": (0.25 + 0.75 * values[to]).toFixed(3) }));
    }
    const short = (text) => (Array.from(text).length > 15 ? Array.from(text).slice(0, 14).join("") + "…" : text);
    for (let i = 0; i < n; i++) {
      const left = draw("text", { x: 120, y: at(i) + 5, "text-anchor": "end", class: i === token ? "on" : "quiet" }, short(tokens[i]));
      const share = draw("text", { x: 240, y: at(i) + 5, class: values[i] >= 0.1 ? "on" : "quiet" }, short(tokens[i]));
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
  const axis = (className) => make("div", { className, ariaHidden: "true" }, ...tokens.map((text) => make("span", {}, bdi(text))));
  // Beyond some tokens their names would be too small to read; the links have them.
  byId("matrix").replaceChildren(make("div", { className: n > 32 ? "plot bare" : "plot" }, axis("down-axis"), square, axis("cross-axis")));
  const behind = byId("t-head").closest("details");
  function table() {
    const [layer, head] = chosen;
    const exact = whole(layer, head);
    const own = byId("t-head");
    own.caption.textContent = `Attention of layer ${layer}, head ${head}: each row is the token that looks` + (exact ? "" : ". The float32 of this head are not in this page");
    [...own.tBodies[0].rows].forEach((line, i) => {
      for (let j = 0; j < n; j++) line.cells[j + 1].firstChild.textContent = exact ? shortest(exact[i * n + j]) : "–";
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
  before.labels.forEach((label, i) => nodes.push(i ? "; " : "", bdi(label), " ", number(floats(before.values)[i]), " → ", number(after[i])));
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
    const list = labels(row, column).map((label, i) => make("tr", {}, make("th", { scope: "row" }, bdi(label)), make("td", { className: "num" }, shortest(found[i]))));
    byId("lens-readout").replaceChildren(make("b", {}, `${layerName(row)}, `, bdi(names[column])), make("table", {}, make("tbody", {}, ...list)));
  }, [rows - 1, 0]);
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
