/* Draws the anatomy of a network as a string of SVG: the same for the screen and for files. G.anatomy(value, width, narrow?) ->
   {svg, width, height, tops: {layer: y}}. Everything that can be selected is a <g class="an-point" data-point data-layer data-head>. */
window.Glassbox.anatomy = window.Glassbox.anatomy || ((v, W) => {
  const G = window.Glassbox, { sx, css, fill } = G, t = v.text, s = v.size;
  const ink = css("--gb-ink"), muted = css("--gb-muted"), line = css("--gb-line"), strong = css("--gb-line-strong"), panel = css("--gb-panel");
  const accent = css("--gb-accent"), soft = css("--gb-accent-soft"), sunken = css("--gb-sunken"), river = css("--gb-cat-6");
  const narrow = W < 560, L0 = 34, RW = Math.max(64, Math.min(150, 0.2 * W)), cx = L0 + RW / 2, X = L0 + RW + 26, NUM = narrow ? 46 : 120, A = W - X - NUM - 6;
  const most = Math.max(...v.resid, ...(v.before || []), ...v.attn.map((a) => a[0]), ...v.mlp.map((a) => a[0]), 1e-9), scale = RW / most;
  const out = [], under = [], flow = [], tops = {};
  const headMost = Math.max(1e-9, ...v.heads.flat()), binMost = Math.max(1e-9, ...v.bins.flat());
  const off = new Set(v.off.map(([l, h]) => `${l}.${h}`)), edited = new Set(v.edited);
  const sig = (x) => (Math.abs(x) >= 1000 ? Math.round(x).toLocaleString() : Number(x.toPrecision(3)).toString());
  const count = (n) => (n >= 1e9 ? `${(n / 1e9).toFixed(2)} B` : n >= 1e6 ? `${(n / 1e6).toFixed(n >= 1e8 ? 0 : 2)} M` : n >= 1e4 ? `${Math.round(n / 1e3)} k` : n.toLocaleString());
  const text = (x, y, string, more = {}) => sx("text", { x, y, fill: ink, "font-size": 12, ...more }, null, string);
  const is = (point, layer, head = null) => v.selected.point === point && (layer === null || v.selected.layer === layer) && (head === null || v.selected.head === head);
  const rect = (x, y, width, height, more = {}) => sx("rect", { x, y, width: Math.max(0, width), height, ...more });
  /* A group that can be selected. box: where its frame is. */
  function point(name, layer, head, [x, y, w, h], inner, spoken, more = {}) {
    const on = is(name, layer, head);
    return sx("g", { class: `an-point${on ? " an-on" : ""}`, "data-point": name, "data-layer": layer, "data-head": head, tabindex: -1, role: "option", "aria-selected": String(on), "aria-label": spoken },
      [rect(x, y, w, h, { fill: "transparent", class: "an-hit" }), ...inner, on ? rect(x - 1.5, y - 1.5, w + 3, h + 3, { fill: "none", stroke: accent, "stroke-width": 2.5, rx: 3, ...more }) : ""]);
  }
  const place = (layer) => (layer === null ? "" : `${fill(t.layer, { layer })}, `);
  const marked = (name) => edited.has(name);
  function chip(name, layer, x, y, shape, w0 = 0) {
    const label = t[name], w = Math.max(w0, 10 + Math.max(7.3 * [...label].reduce((n, c) => n + (c.charCodeAt(0) > 0x1100 ? 1.6 : 1), 0), 6.5 * shape.length)), box = [x, y, w, 34], changed = marked(hook(name, layer));
    return { w, svg: point(name, layer, null, box, [rect(x, y, w, 34, { fill: panel, stroke: changed ? css("--gb-warn") : strong, "stroke-width": changed ? 2 : 1, rx: 4 }), text(x + 5, y + 14, label, { "font-weight": 600, "font-size": 11.5, "font-family": css("--gb-sans") }), text(x + 5, y + 28, shape, { fill: muted, "font-size": 10.5 })], `${place(layer)}${label}, ${shape}`) };
  }
  const hook = (name, layer) => (layer === null ? name : `blocks.${layer}.hook_${name}`);
  /* What a part adds: a bar of the river's scale, into the river. */
  function adds(y, [norm, cosine], name, layer, room) {
    const w = Math.max(1, norm * scale), shown = Math.min(w, room - 4), colour = cosine === null ? css("--gb-seq-3") : G.div(Math.max(-1, Math.min(1, cosine)));
    const right = cx + (RW / 2), label = narrow || cosine === null ? sig(norm) : `${sig(norm)}  cos ${cosine >= 0 ? "+" : "\u2212"}${Math.abs(cosine).toFixed(2)}`;
    under.push(sx("path", { d: `M${X} ${y}H${cx}`, stroke: strong, "stroke-width": 1, "stroke-dasharray": "2 3", fill: "none" }));
    return point(name, layer, null, [X, y - 8, A + NUM, 16], [rect(X, y - 4, shown, 8, { fill: colour, stroke: strong, "stroke-width": 0.75 }), text(X + shown + 6, y + 4, label, { fill: muted, "font-size": 11 }),
      sx("circle", { cx: right + 10, cy: y, r: 7, fill: panel, stroke: strong }), text(right + 10, y + 4, "+", { "text-anchor": "middle" })],
      `${place(layer)}${t[name]}, ${fill(t.norm, { norm: sig(norm) })}, ${cosine === null ? "" : fill(t.along, { cosine: cosine.toFixed(2) })}`);
  }
  /* A stretch of the river that can be selected. */
  function bank(name, layer, y, h, norm) {
    const w = Math.max(2, norm * scale), changed = marked(hook(name, layer));
    out.push(point(name, layer, null, [cx - RW / 2, y, RW, h], [changed ? rect(cx - RW / 2, y + 2, 3, h - 4, { fill: css("--gb-warn") }) : "",
      h >= 24 ? text(cx, y + Math.min(h / 2, 40) + 4, sig(norm), { "text-anchor": "middle", "font-size": 11, "font-weight": 600, "paint-order": "stroke", stroke: panel, "stroke-width": 3, "stroke-opacity": .75 }) : ""],
      `${place(layer)}${t[name]}, ${fill(t.norm, { norm: sig(norm) })}`, { width: RW + 3, x: cx - RW / 2 - 1.5 }));
    return w;
  }
  /* The heads of a layer, a cell each; `least` wide ones take several rows. */
  const rowsOf = (width, least) => Math.ceil(s.heads / Math.max(1, Math.min(s.heads, Math.floor(width / least))));
  function cells(layer, top, h, left, width, least = 1) {
    const across = Math.ceil(s.heads / rowsOf(width, least)), w = width / across, gap = w > 6 ? 1.5 : w > 3 ? 0.6 : 0;
    return v.heads[layer].map((norm, i) => {
      const x = left - (i - (i % across)) * w, y = top + Math.floor(i / across) * (h + 4), head = i;
      const gone = off.has(`${layer}.${head}`), colour = G.seq(norm / headMost), name = `L${layer}H${head}`;
      return point("result", layer, head, [x + head * w, y, w - gap, h], [rect(x + head * w, y, w - gap, h, { fill: gone ? "none" : colour, stroke: strong, "stroke-width": 0.6 }),
        gone ? sx("path", { d: `M${x + head * w} ${y}l${w - gap} ${h}m0 ${-h}l${gap - w} ${h}`, stroke: css("--gb-error") }) : "",
        h >= 24 && w >= 26 ? text(x + head * w + (w - gap) / 2, y + h / 2 + 4, w >= 34 ? `H${head}` : String(head), { "text-anchor": "middle", "font-size": 11, fill: gone ? ink : G.ink(colour) }) : ""],
        `${name}, ${gone ? t.off : fill(t.norm, { norm: sig(norm) })}`);
    });
  }
  function neurons(layer, y, h, name, x, width) {
    const n = v.bins[layer].length, w = width / n;
    return point(name, layer, null, [x, y, width, h], [...v.bins[layer].map((b, i) => rect(x + i * w, y, w + 0.3, h, { fill: G.seq(b / binMost) })), rect(x, y, width, h, { fill: "none", stroke: strong, "stroke-width": 0.8 })],
      `${place(layer)}${t[name]}, ${fill(t.neurons, { count: s.d_mlp.toLocaleString() })}`);
  }
  const bent = (y, norm) => flow.push([y, norm]);

  /* ---- where the parameters are: in true proportion --------------------------------------------------------- */
  let y = 14;
  const p = v.parameters, total = p.embed + p.pos_embed + s.layers * (p.attention + p.mlp + p.layer_norms) + p.ln_final + p.unembed;
  const said = fill(t.parameters, { total: count(total), layers: s.layers, heads: s.heads, d_model: s.d_model, d_head: s.d_head }), lines = [""];
  for (const word of said.split(" ")) if (`${lines.at(-1)} ${word}`.length * (/[\uac00-\ud7a3]/.test(said) ? 8.6 : 6.4) < W) lines.push(`${lines.pop()} ${word}`.trim()); else lines.push(word);
  for (const one of lines) { out.push(text(0, y, one, { "font-family": css("--gb-sans"), fill: muted })); y += 16; }
  y -= 16;
  y += 8;
  let x = 0;
  const part = (n, colour, name, layer, label) => {
    const w = (n / total) * (W - 1);
    out.push(point(name, layer, null, [x, y, w, 22], [rect(x, y, w, 22, { fill: colour, stroke: panel, "stroke-width": w > 3 ? 1 : 0.25 }), w > 6.4 * label.length + 8 ? text(x + 5, y + 15, label, { "font-size": 11, fill: G.ink(colour) }) : ""],
      `${place(layer)}${label}: ${count(n)} (${fill(t.of_all, { share: G.pct(n / total) })})`));
    x += w;
  };
  part(p.embed, css("--gb-seq-3"), "embed", null, `${t.embed} ${count(p.embed)}`);
  part(p.pos_embed, css("--gb-seq-5"), "pos_embed", null, `${t.pos_embed} ${count(p.pos_embed)}`);
  for (let l = 0; l < s.layers; l++) {
    part(p.attention, css("--gb-cat-2"), "attn_out", l, s.layers < 7 ? `L${l}` : "");
    part(p.mlp, css("--gb-cat-3"), "mlp_out", l, "");
  }
  if (p.unembed) part(p.unembed, css("--gb-seq-3"), "logits", null, `${t.unembed} ${count(p.unembed)}`);
  y += 34;
  [[css("--gb-cat-2"), `${t.attention} ${count(p.attention)}`], [css("--gb-cat-3"), `${t.mlp} ${count(p.mlp)}`]].reduce((at, [colour, label]) => {
    const said = narrow ? label : fill(t.stream, { what: label });
    out.push(rect(at, y - 8, 9, 9, { fill: colour }), text(at + 13, y, said, { fill: muted, "font-size": 11 }));
    return at + 30 + 6.9 * said.length;
  }, 0);
  y += 14;

  /* ---- in ---------------------------------------------------------------------------------------------------- */
  const shape = (width) => `[${v.count} \u00d7 ${width}]`;
  const head = chip("embed", null, X, y, `W_E[${s.d_vocab.toLocaleString()} \u00d7 ${s.d_model}]`);
  out.push(text(L0, y + 14, v.token, { "font-weight": 600 }), text(L0, y + 29, fill(t.token, { position: v.position }), { fill: muted, "font-size": 10.5 }), head.svg);
  const where = narrow ? [X, y + 40] : [X + head.w + 8, y];
  out.push(chip("pos_embed", null, where[0], where[1], `W_pos[${s.n_ctx.toLocaleString()} \u00d7 ${s.d_model}]`).svg);
  y += narrow ? 84 : 44;
  out.push(adds(y, [v.embed[0], null], "embed", null, A), adds(y + 18, [v.embed[1], null], "pos_embed", null, A));
  bent(y - 4, v.resid[0] / 2);
  bent(y + 18, v.resid[0]);
  y += 32;

  /* ---- layers ------------------------------------------------------------------------------------------------ */
  function shut(l) {
    const top = y, rows = s.layers > 16 ? [11, 22] : [13, 26];
    out.push(rect(X - 18, top + 3, 12, rows[0], { fill: "none" }));
    const ln = (name, yy, h) => point(name, l, null, [X - 16, yy, 12, h], [rect(X - 16, yy, 12, h, { fill: sunken, stroke: strong, "stroke-width": 0.7 })], `${place(l)}${t[name]}`);
    out.push(sx("g", { class: "an-open", "data-layer": l }, [rect(0, top, L0 - 4, rows[0] + rows[1] + 40, { fill: "transparent" }), text(0, top + 14, `L${l}`, { "font-weight": 600 })]));
    out.push(ln("ln1", top + 3, rows[0]), ...cells(l, top + 3, rows[0], X, A), narrow ? "" : text(X + A + 6, top + 13, `${s.heads} \u00d7 ${s.d_head}`, { fill: muted, "font-size": 10.5 }));
    const join = top + rows[0] + 13, second = join + 12;
    out.push(adds(join, v.attn[l], "attn_out", l, A));
    bank("resid_pre", l, top, join - top, v.resid[2 * l]);
    out.push(ln("ln2", second, rows[1]), neurons(l, second, rows[1], "post", X, A), narrow ? "" : text(X + A + 6, second + rows[1] / 2 + 4, `${s.d_mlp.toLocaleString()}`, { fill: muted, "font-size": 10.5 }));
    const join2 = second + rows[1] + 11;
    out.push(adds(join2, v.mlp[l], "mlp_out", l, A));
    bank("resid_mid", l, join, join2 - join, v.resid[2 * l + 1]);
    bent(join - 6, v.resid[2 * l]); bent(join + 6, v.resid[2 * l + 1]);
    bent(join2 - 6, v.resid[2 * l + 1]); bent(join2 + 6, v.resid[2 * l + 2]);
    y = join2 + 14;
  }
  /* The chips of an open layer, in rows that fit. */
  function chips(l, names) {
    let at = X - 16, row = y;
    for (const [name, what] of names) {
      const made = chip(name, l, at, row, what);
      if (at > X - 16 && at + made.w > W - 4) { at = X - 16; row += 42; }
      const put = chip(name, l, at, row, what);
      if (at > X - 16) out.push(text(at - 10, row + 21, "\u2192", { "text-anchor": "middle", fill: muted }));
      out.push(put.svg);
      at += put.w + 20;
    }
    y = row + 42;
  }
  function open(l) {
    const top = y, n = v.count;
    y += 22;
    out.push(text(X - 16, y - 5, `${fill(t.layer, { layer: l })} \u00b7 ${t.attention} ${count(p.attention)}`, { "font-weight": 600, "font-family": css("--gb-sans") }));
    chips(l, [["ln1", shape(s.d_model)], ["q", `[${s.heads} \u00d7 ${n} \u00d7 ${s.d_head}]`], ["k", `[${s.heads} \u00d7 ${n} \u00d7 ${s.d_head}]`], ["v", `[${s.heads} \u00d7 ${n} \u00d7 ${s.d_head}]`], ["attn_scores", `[${s.heads} \u00d7 ${n} \u00d7 ${n}]`], ["pattern", `[${s.heads} \u00d7 ${n} \u00d7 ${n}]`], ["z", `[${n} \u00d7 ${s.heads} \u00d7 ${s.d_head}]`]]);
    const width = W - X - 4;
    out.push(text(X - 16, y + 12, `${t.result} [${n} \u00d7 ${s.heads} \u00d7 ${s.d_model}]`, { fill: muted, "font-size": 11 }));
    out.push(...cells(l, y + 18, 30, X - 16, width + 16, 40));
    const join = y + 30 + 34 * rowsOf(width + 16, 40);
    out.push(adds(join, v.attn[l], "attn_out", l, A));
    bank("resid_pre", l, top + 4, join - top - 4, v.resid[2 * l]);
    y = join + 32;
    out.push(text(X - 16, y - 5, `${fill(t.layer, { layer: l })} \u00b7 ${t.mlp} ${count(p.mlp)}`, { "font-weight": 600, "font-family": css("--gb-sans") }));
    chips(l, [["ln2", shape(s.d_model)], ["pre", shape(s.d_mlp.toLocaleString())], ["post", shape(s.d_mlp.toLocaleString())]]);
    out.push(neurons(l, y, 34, "post", X - 16, width + 16));
    const join2 = y + 52;
    out.push(adds(join2, v.mlp[l], "mlp_out", l, A));
    bank("resid_mid", l, join, join2 - join, v.resid[2 * l + 1]);
    bent(join - 8, v.resid[2 * l]); bent(join + 8, v.resid[2 * l + 1]);
    bent(join2 - 8, v.resid[2 * l + 1]); bent(join2 + 8, v.resid[2 * l + 2]);
    under.unshift(rect(0, top, W - 1, join2 + 14 - top, { fill: soft, opacity: .45, rx: 5 }));
    out.push(text(0, top + 17, `L${l}`, { "font-weight": 700, fill: accent }));
    y = join2 + 22;
  }
  for (let l = 0; l < s.layers; l++) { tops[l] = y; (l === v.selected.layer ? open : shut)(l); }

  /* ---- out --------------------------------------------------------------------------------------------------- */
  const last = s.layers - 1, end = y;
  bank("resid_post", last, y, 30, v.resid.at(-1));
  y += 4;
  const norm = chip("ln_final", null, X - 16, y, `|y| ${sig(v.final)}`);
  const un = chip("logits", null, X - 16 + norm.w + 20, y, `[${v.count} \u00d7 ${s.d_vocab.toLocaleString()}]`);
  out.push(norm.svg, un.svg, text(X - 26 + norm.w + 20, y + 21, "\u2192", { "text-anchor": "middle", fill: muted }));
  bent(end + 30, v.resid.at(-1));
  y += 48;
  const room = W - X - 60, label = Math.min(130, room * 0.5);
  v.top.forEach(([name, prob], i) => out.push(text(X - 16, y + 18 * i + 11, [...name].length * 7.4 > label ? `${[...name].slice(0, Math.floor(label / 7.4) - 1).join("")}\u2026` : name), rect(X - 16 + label, y + 18 * i + 2, (room - label) * prob, 11, { fill: G.seq(0.55) }), text(X - 10 + label + (room - label) * prob, y + 18 * i + 12, G.pct(prob), { fill: muted, "font-size": 11 })));
  y += 18 * v.top.length + 8;

  /* ---- the river --------------------------------------------------------------------------------------------- */
  const edge = (points, sign) => points.map(([py, n], i) => {
    const px = cx + (sign * Math.max(1.5, n * scale)) / 2;
    if (!i) return `${px} ${py}`;
    const [qy, m] = points[i - 1], qx = cx + (sign * Math.max(1.5, m * scale)) / 2, mid = (py + qy) / 2;
    return `C${qx} ${mid} ${px} ${mid} ${px} ${py}`;
  });
  const back = (points, sign) => { const r = [...points].reverse(); return edge(r, sign); };
  const outline = (points) => `M${edge(points, -1).join("")}L${back(points, 1).join("")}Z`;
  const body = sx("path", { class: "an-river", d: outline(flow), fill: river, opacity: .5 });
  const beforeAt = (i) => (i < 2 ? v.before[0] / (2 - i) : v.before[Math.min(v.before.length - 1, 2 * ((i - 2) >> 2) + [0, 1, 1, 2][(i - 2) & 3])]);
  const ghost = v.before ? sx("path", { class: "an-river", d: outline(flow.map(([py], i) => [py, beforeAt(i)])), fill: "none", stroke: ink, "stroke-dasharray": "4 3", opacity: .8 }) : "";
  return { inner: [...under, body, ghost, ...out], width: W, height: Math.ceil(y), tops };
});
