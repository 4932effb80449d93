/* Two pictures of a moment of the training (film.js): all heads as cells coloured by a score, and one head's attention on a prompt.
   grid(host, film) -> {frame(i), role(r), select(layer, head), theme(), resize()}; pattern(host, film) -> {frame(i), show(prompt, layer, head), redraw()}.
   film: what film.js unpacked: {reel, text, score(role, frame, layer, head), weight(prompt, frame, layer, head, query, key), ...}. */
(() => {
  "use strict";
  const G = window.Glassbox, { el, fill, sx } = G;
  if (G.filmGrid) return;
  const sans = () => ({ "font-family": G.css("--gb-sans") || "sans-serif", fill: G.css("--gb-ink") });
  const name = (layer, head) => `L${layer}H${head}`;

  G.filmGrid = function grid(host, film, onSelect) {
    const { reel, text } = film, { layers, heads } = reel, cells = [];
    let at = 0, role = 0, chosen = null, pending = 0;
    const list = el("div", { class: "fm-grid", role: "listbox", "aria-label": text.grid_label, style: { "--fm-heads": heads } });
    const label = (s, cls) => el("span", { class: cls, "aria-hidden": "true", text: s });
    list.append(label("", "fm-corner"), ...Array.from({ length: heads }, (_, h) => label(`H${h}`, "fm-column")));
    for (let l = 0; l < layers; l++) {
      list.append(label(`L${l}`, "fm-row-name"));
      for (let h = 0; h < heads; h++) {
        const cell = el("button", { type: "button", class: "fm-cell", role: "option", tabindex: "-1", "aria-selected": "false", dataset: { layer: l, head: h, name: name(l, h) } });
        cells.push(cell);
        list.append(cell);
      }
    }
    const top = el("button", { type: "button", class: "fm-link", onclick: () => pick(cells.find((c) => c.dataset.name === top.textContent), false) });
    const said = el("p", { class: "fm-small" }), box = el("div", { class: "gb-scroll" }, [list]);
    const foot = el("div", { class: "fm-foot" }, [G.legend("seq", { title: text.unit_score, low: "0", high: "1" })]);
    host.replaceChildren(box, foot, said);
    G.exportMenu(foot, { name: `${reel.model}-heads`, svg, csv, json, text });

    function describe(cell) {
      const l = Number(cell.dataset.layer), h = Number(cell.dataset.head);
      const lines = reel.roles.map((r, k) => `${text[r]}: ${film.score(k, at, l, h).toFixed(3)} (${fill(text.chance, { value: reel.chance[k].toFixed(3) })})`);
      return [fill(text.hover_head, { head: name(l, h), moment: film.moment(at) }), ...lines].join("\n");
    }
    function frame(i = at) {
      at = i;
      let best = 0;
      cells.forEach((cell, k) => {
        const value = film.score(role, i, Math.floor(k / heads), k % heads), colour = G.seq(value), printed = value.toFixed(2);
        if (value > film.score(role, i, Math.floor(best / heads), best % heads)) best = k;
        cell.style.background = colour;
        cell.style.color = G.ink(colour);
        if (cell.textContent !== printed) cell.textContent = printed;
      });
      top.textContent = cells[best].dataset.name;
      const value = film.score(role, i, Math.floor(best / heads), best % heads);
      const [before, after] = fill(text.best_now, { value: value.toFixed(2), times: (value / reel.chance[role]).toFixed(1), chance: reel.chance[role].toFixed(3) }).split("{head}");
      said.replaceChildren(before, top, after);
    }
    function select(layer, head, focus = false) {
      chosen = [layer, head];
      cells.forEach((cell) => {
        const on = cell.dataset.name === name(layer, head);
        cell.classList.toggle("gb-selected", on);
        cell.setAttribute("aria-selected", String(on));
        cell.setAttribute("aria-label", fill(text.tile_label, { layer: cell.dataset.layer, head: cell.dataset.head }));
        cell.tabIndex = on ? 0 : -1;
        if (on && focus) cell.focus({ preventScroll: true });
      });
    }
    function pick(cell, later) {
      const l = Number(cell.dataset.layer), h = Number(cell.dataset.head);
      select(l, h);
      clearTimeout(pending);
      onSelect(l, h, false);
      pending = setTimeout(() => onSelect(l, h, true), later ? 250 : 0);
    }
    list.addEventListener("click", (e) => { const cell = e.target.closest(".fm-cell"); if (cell) pick(cell, false); });
    G.roving(list, { selector: ".fm-cell", onMove: (cell) => pick(cell, true) });
    G.tooltip(list, ".fm-cell", describe);
    const resize = () => { if (box.clientWidth) list.classList.toggle("fm-tight", (box.clientWidth - 34) / heads < 34); };

    function svg() {
      const size = 48, left = 40, top = 56, out = [sx("text", { x: 8, y: 22, "font-size": 14, "font-weight": 600, ...sans() }, null, `${text[reel.roles[role]]} \u00b7 ${reel.model} \u00b7 ${film.moment(at)}`)];
      for (let h = 0; h < heads; h++) out.push(sx("text", { x: left + (h + 0.5) * size, y: top - 6, "text-anchor": "middle", "font-size": 11, ...sans() }, null, `H${h}`));
      for (let l = 0; l < layers; l++) {
        out.push(sx("text", { x: left - 6, y: top + (l + 0.5) * size + 4, "text-anchor": "end", "font-size": 11, ...sans() }, null, `L${l}`));
        for (let h = 0; h < heads; h++) {
          const value = film.score(role, at, l, h), colour = G.seq(value);
          out.push(sx("rect", { x: left + h * size, y: top + l * size, width: size - 2, height: size - 2, fill: colour, stroke: G.css("--gb-line-strong"), "stroke-width": 0.5 }));
          out.push(sx("text", { x: left + (h + 0.5) * size - 1, y: top + (l + 0.5) * size + 3, "text-anchor": "middle", "font-size": 12, fill: G.ink(colour) }, null, value.toFixed(2)));
        }
      }
      return G.svgDoc(Math.max(430, left + heads * size + 12), top + layers * size + 12, out, text.grid_label);
    }
    const columns = ["frame", "step", "tokens", "layer", "head", ...reel.roles];
    const rows = () => reel.steps.flatMap((step, i) => cells.map((_, k) => [i, step, reel.tokens ? reel.tokens[i] : null, Math.floor(k / heads), k % heads,
      ...reel.roles.map((_, r) => Number(film.score(r, i, Math.floor(k / heads), k % heads).toFixed(6)))]));
    function csv() { return G.csvRows([columns, ...rows()]); }
    function json() { return { model: reel.model, chance: Object.fromEntries(reel.roles.map((r, k) => [r, reel.chance[k]])), columns, rows: rows() }; }
    resize();
    return { frame, select, resize, role: (r) => { role = r; frame(); }, chosen: () => chosen };
  };

  G.filmPattern = function pattern(host, film) {
    const { reel, text } = film;
    const box = el("div", { class: "fm-pattern gb-scroll", role: "img" }), foot = el("div", { class: "fm-foot" }, [G.legend("seq", { title: text.unit_weight, low: "0", high: "1" })]);
    host.replaceChildren(box, foot, el("p", { class: "fm-small", text: text.precision }));
    G.exportMenu(foot, { name: `${reel.model}-attention`, svg: file, csv, json, text });
    let at = 0, prompt = 0, layer = 0, head = 0, width = 0, cells = [], place = null;
    const tokens = () => reel.prompts[prompt].tokens, short = (s) => (s.length > 12 ? `${s.slice(0, 11)}\u2026` : s);
    const weight = (q, k) => film.weight(prompt, at, layer, head, q, k);

    function layout(w) {
      const n = tokens().length, longest = Math.max(...tokens().map((s) => short(s).length)), left = 12 + 7.3 * longest, top = 20 + 5.6 * longest;
      const cell = Math.max(5, Math.min(34, Math.floor((w - left - 18) / n)));
      return { n, left, top, cell, every: Math.max(1, Math.ceil(13 / cell)), width: Math.max(left + n * cell + 18, 120), height: top + n * cell + 6 };
    }
    function parts(p) {
      const out = [], font = { "font-size": 12, fill: G.css("--gb-ink"), "font-family": G.css("--gb-mono") || "monospace" }, none = G.css("--gb-sunken");
      tokens().forEach((token, i) => {
        const middle = (i + 0.5) * p.cell, x = p.left + middle;
        if (i % p.every === 0) out.push(sx("text", { x: p.left - 6, y: p.top + middle + 4, "text-anchor": "end", ...font }, null, short(token)),
          sx("text", { x: x + 3, y: p.top - 5, transform: `rotate(-50 ${x + 3} ${p.top - 5})`, ...font }, null, short(token)));
        for (let k = 0; k < p.n; k++) out.push(sx("rect", { class: k <= i ? "fm-weight" : null, x: p.left + k * p.cell, y: p.top + i * p.cell, width: p.cell - 1, height: p.cell - 1, fill: k <= i ? G.seq(weight(i, k)) : none }));
      });
      return out;
    }
    function redraw() {
      width = box.clientWidth;
      if (!width || !reel.prompts.length) return;
      place = layout(width);
      const { width: w, height: h } = place;
      const source = sx("svg", { xmlns: "http://www.w3.org/2000/svg", width: w, height: h, viewBox: `0 0 ${w} ${h}`, "xml:space": "preserve" }, parts(place));
      const picture = document.adoptNode(new DOMParser().parseFromString(source, "image/svg+xml").documentElement);
      box.replaceChildren(picture);
      box.setAttribute("aria-label", fill(text.pattern_title, { head: name(layer, head) }));
      cells = [...picture.querySelectorAll(".fm-weight")];
    }
    function frame(i) {
      at = i;
      let c = 0;
      for (let q = 0; cells.length && q < place.n; q++) for (let k = 0; k <= q; k++) cells[c++].setAttribute("fill", G.seq(weight(q, k)));
    }
    function show(p, l, h) {
      [prompt, layer, head] = [p, l, h];
      redraw();
    }
    box.addEventListener("pointermove", (e) => {
      if (!place || e.pointerType === "touch") return;
      const r = box.firstChild.getBoundingClientRect(), k = Math.floor((e.clientX - r.left - place.left) / place.cell), q = Math.floor((e.clientY - r.top - place.top) / place.cell);
      if (q < 0 || k < 0 || q >= place.n || k > q) return G.hideTip();
      G.showTip({ x: e.clientX, y: e.clientY }, fill(text.hover_cell, { head: name(layer, head), query: tokens()[q], key: tokens()[k], value: weight(q, k).toFixed(2), moment: film.moment(at) }));
    });
    box.addEventListener("pointerleave", G.hideTip);
    function file() {
      const p = layout(620), title = `${name(layer, head)} \u00b7 ${reel.model} \u00b7 ${film.moment(at)}`;
      return G.svgDoc(Math.max(p.width, 420), p.height + 34, [sx("text", { x: 8, y: 20, "font-size": 14, "font-weight": 600, ...sans() }, null, title), sx("g", { transform: "translate(0 30)" }, parts(p))], title);
    }
    function rows() {
      const t = tokens(), out = [];
      for (let q = 0; q < t.length; q++) for (let k = 0; k <= q; k++) out.push([q, k, t[q], t[k], Number(weight(q, k).toFixed(4))]);
      return out;
    }
    const columns = ["query", "key", "query_token", "key_token", "weight"];
    function csv() { return G.csvRows([columns, ...rows()]); }
    function json() { return { model: reel.model, step: reel.steps[at], layer, head, tokens: tokens(), weight_step: 1 / 255, columns, rows: rows() }; }
    return { frame, show, redraw, resize: () => { if (box.clientWidth !== width) redraw(); } };
  };
})();
