/* The drawing of the enlarged head: sizes, matrix, lines, and what lies under a point. `s` is the state kept by head_view.js. */
window.Glassbox.headView = window.Glassbox.headView || (() => {
  "use strict";
  const G = window.Glassbox, P = G.pixels, { fill } = G;
  const MAX_LINES = 3000, ROW = 22, FONT = 12.5, MIN_SHOWN = 0.01;
  const count = (s) => s.value.tokens.length;
  const at = (s, q, k) => (k === 0 && s.value.hide_first ? 0 : s.data[s.show][q * count(s) + k]);
  const font = (bold) => `${bold ? "600 " : ""}${FONT}px ${G.css("--gb-mono")}`;
  const short = (text, length = 12) => { const c = [...text]; return c.length > length ? `${c.slice(0, length - 1).join("")}\u2026` : text; };
  const amount = (s, x, digits = 2) => (s.show === "difference" ? (x >= 0 ? "+" : "\u2212") : "") + Math.abs(x).toFixed(digits);
  const colourIndex = (s) => (s.show === "difference" ? (v) => Math.round(127.5 + 127.5 * Math.max(-1, Math.min(1, v / s.range))) : (v) => Math.round(255 * Math.max(0, Math.min(1, v / s.range))));
  const kind = (s) => (s.show === "difference" ? "div" : "seq");
  const hue = (s, v) => G.css(s.show !== "difference" ? "--gb-seq-6" : v > 0 ? "--gb-pos-3" : "--gb-neg-3");

  /* The weight at the end of the scale: 1, the largest visible weight, or the largest change; after and before share it. */
  function range(s) {
    if (s.show !== "difference" && s.value.ends_at) return s.value.ends_at;
    const n = count(s), arrays = s.show === "difference" ? [s.data.difference] : [s.data.after, s.data.before].filter(Boolean);
    if (s.show !== "difference" && !s.value.hide_first) return s.value.largest;
    let top = 0;
    for (const a of arrays) for (let i = 0; i < a.length; i++) if (!(s.value.hide_first && i % n === 0)) top = Math.max(top, Math.abs(a[i]));
    return top || 1;
  }
  const causalEnd = (s, q) => (s.value.causal ? q + 1 : count(s));
  function best(s, q) {
    let key = 0;
    for (let k = 0; k < causalEnd(s, q); k++) if (Math.abs(at(s, q, k)) > Math.abs(at(s, q, key))) key = k;
    return key;
  }
  /* The strong lines: at most MAX_LINES, found with a histogram because sorting half a million weights would be felt. */
  function links(s) {
    const n = count(s), bins = new Int32Array(1001), list = [];
    let total = 0, threshold = MIN_SHOWN * s.range;
    for (let q = 0; q < n; q++) for (let k = 0; k < causalEnd(s, q); k++) { total++; bins[Math.min(1000, Math.floor((1000 * Math.abs(at(s, q, k))) / s.range))]++; }
    for (let b = 1000, sum = 0; b >= 10; b--) { sum += bins[b]; if (sum > MAX_LINES) { threshold = (Math.min(1000, b + 1) / 1000) * s.range; break; } }
    for (let q = 0; q < n; q++) for (let k = 0; k < causalEnd(s, q); k++) { const v = at(s, q, k); if (Math.abs(v) >= threshold) list.push([q, k, v]); }
    return { list: list.slice(0, 4 * MAX_LINES), threshold, total };
  }

  /* ---- sizes ---- */
  function measure(s) {
    const n = count(s), wide = s.box.clientWidth, context = s.canvas.getContext("2d");
    context.font = font(false);
    const label = Math.ceil(Math.max(...s.value.tokens.map((t) => context.measureText(short(t)).width), 20));
    if (s.mode === "matrix") {
      context.font = `11.5px ${G.css("--gb-sans")}`;
      const titles = Math.max(...["looks_from", "looks_at"].map((key) => context.measureText(`${s.value.text[key]} \u2192`).width));
      s.left = Math.max(titles + 10, Math.min(label + 14, wide * 0.3));
      s.top = Math.min(label, 84) * 0.72 + 22;
      const fitted = Math.min(wide - s.left - 56, 660) / n;
      s.fitted = n <= 100 ? Math.max(9, Math.min(44, fitted)) : fitted;
      s.cell = s.fitted * s.zoom;
      Object.assign(s, { width: Math.max(wide, s.left + n * s.cell + 56), height: s.top + n * s.cell + 14 });
    } else {
      s.column = Math.min(Math.max(label + 18, 60), wide * 0.32);
      s.span = Math.min(wide - 50, 2 * s.column + 420);
      Object.assign(s, { left: 0, top: 28, cell: ROW, fitted: ROW, width: wide, height: 28 + n * ROW + 10 });
    }
  }
  function frame(s) {
    const w = s.box.clientWidth, h = s.box.clientHeight, ratio = Math.min(2, devicePixelRatio), c = s.canvas;
    if (c.width !== Math.round(w * ratio) || c.height !== Math.round(h * ratio)) { c.width = Math.round(w * ratio); c.height = Math.round(h * ratio); c.style.width = `${w}px`; c.style.height = `${h}px`; }
    const context = c.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, c.width, c.height);
    return { context, w, h, ratio, sx: s.box.scrollLeft, sy: s.box.scrollTop };
  }
  const render = (s) => (s.mode === "matrix" ? matrix(s, frame(s)) : lines(s, frame(s)));

  /* ---- matrix ---- */
  function matrix(s, f) {
    const { context: c, ratio, sx, sy } = f, n = count(s), w = Math.min(f.w - s.left, n * s.cell - sx), h = Math.min(f.h - s.top, n * s.cell - sy);
    if (w <= 0 || h <= 0) return;
    const pw = Math.max(1, Math.round(w * ratio)), ph = Math.max(1, Math.round(h * ratio)), step = 1 / (s.cell * ratio);
    const picture = P.paint(pw, ph, P.spans(ph, sy / s.cell, step, n), P.spans(pw, sx / s.cell, step, n), (q, k) => at(s, q, k), colourIndex(s), P.palette(kind(s)));
    c.putImageData(picture, Math.round(s.left * ratio), Math.round(s.top * ratio));
    c.scale(ratio, ratio);
    c.save();
    c.beginPath(); c.rect(s.left, s.top, w, h); c.clip();
    c.translate(s.left - sx, s.top - sy);
    shade(s, c, sx, sy, w, h);
    marks(s, c, n);
    c.restore();
    c.strokeStyle = G.css("--gb-line-strong"); c.lineWidth = 1;
    c.strokeRect(s.left - 0.5, s.top - 0.5, w + 1, h + 1);
    axes(s, c, f, n);
  }
  /* What cannot be looked at (later words) and what is left out on purpose is not a zero, so it has its own ground. */
  function shade(s, c, sx, sy, w, h) {
    const n = count(s), q0 = Math.max(0, Math.floor(sy / s.cell)), q1 = Math.min(n, Math.ceil((sy + h) / s.cell));
    c.fillStyle = G.css("--gb-sunken");
    if (s.value.causal) for (let q = q0; q < q1; q++) c.fillRect((q + 1) * s.cell, q * s.cell, (n - q - 1) * s.cell, s.cell + 0.5);
    if (s.value.hide_first) c.fillRect(0, 0, s.cell, n * s.cell);
    if (s.cell < 14) return;
    c.strokeStyle = G.css("--gb-line"); c.lineWidth = 0.5; c.beginPath();
    for (let q = q0; q < q1; q++) { c.moveTo(0, q * s.cell); c.lineTo((s.value.causal ? q + 1 : n) * s.cell, q * s.cell); }
    for (let k = Math.floor(sx / s.cell); k < Math.min(n, (sx + w) / s.cell); k++) { c.moveTo(k * s.cell, s.value.causal ? Math.max(0, k - 1) * s.cell : 0); c.lineTo(k * s.cell, n * s.cell); }
    c.stroke();
  }
  function marks(s, c, n) {
    const outline = (q, k, wide, tall, colour, width) => { c.strokeStyle = G.css(colour); c.lineWidth = width; c.strokeRect(k * s.cell, q * s.cell, wide * s.cell, tall * s.cell); };
    if (s.value.position !== null) outline(s.value.position, 0, causalEnd(s, s.value.position), 1, "--gb-accent", s.cell < 6 ? 0.8 : 1.5);
    for (const [q, k] of s.value.edited) outline(q, k, 1, 1, "--gb-warn", 2.5);
    const cell = s.hover || s.cursor;
    if (!cell || cell.query === null || cell.key === null) return;
    outline(cell.query, 0, n, 1, "--gb-muted", 0.7);
    outline(0, cell.key, 1, n, "--gb-muted", 0.7);
    outline(cell.query, cell.key, 1, 1, "--gb-ink", 2);
  }
  function axes(s, c, f, n) {
    const step = Math.max(1, Math.ceil(15 / s.cell)), cell = s.hover || s.cursor || {}, pinned = s.value.position;
    const labels = (focus, from, to) => { const out = []; for (let i = Math.max(0, Math.floor(from / step) * step); i < Math.min(n, to); i += step) if (![...focus].some((p) => p !== i && Math.abs(p - i) * s.cell < 15)) out.push(i); return [...new Set([...out, ...focus])]; };
    /* The last label is always there, as the first is, unless another one that is asked for stands in its place. */
    const ends = (set) => ([...set].some((p) => p !== n - 1 && (n - 1 - p) * s.cell < 15) ? set : set.add(n - 1));
    const here = (i) => i !== null && i !== undefined;
    c.textBaseline = "middle";
    c.save(); c.beginPath(); c.rect(0, s.top - 8, s.left, f.h); c.clip(); c.textAlign = "right";
    for (const i of labels(ends(new Set([cell.query, pinned].filter(here))), f.sy / s.cell, (f.sy + f.h - s.top) / s.cell)) ink(s, c, i, s.left - 7, s.top + (i + 0.5) * s.cell - f.sy, 0, i === cell.query, i === pinned);
    c.restore();
    c.save(); c.beginPath(); c.rect(s.left - 4, 0, f.w, s.top); c.clip(); c.textAlign = "left";
    for (const i of labels(ends(new Set([cell.key].filter(here))), f.sx / s.cell, (f.sx + f.w - s.left) / s.cell)) ink(s, c, i, s.left + (i + 0.5) * s.cell - f.sx, s.top - 8, -Math.PI / 4, i === cell.key, false);
    c.restore();
    c.fillStyle = G.css("--gb-muted"); c.font = `11.5px ${G.css("--gb-sans")}`; c.textAlign = "right";
    c.fillText(`${s.value.text.looks_at} \u2192`, s.left - 7, 10);
    if (s.top > 46) c.fillText(`${s.value.text.looks_from} \u2193`, s.left - 7, s.top - 16);
  }
  function ink(s, c, i, x, y, angle, hovered, pinned) {
    c.save(); c.translate(x, y); c.rotate(angle);
    c.font = font(hovered || pinned);
    const text = short(s.value.tokens[i]), w = c.measureText(text).width, start = c.textAlign === "right" ? -w : 0;
    if (hovered || pinned) { c.fillStyle = G.css(hovered ? "--gb-ink" : "--gb-accent-soft"); c.fillRect(start - 3, -8, w + 6, 16); }
    c.fillStyle = G.css(hovered ? "--gb-panel" : pinned ? "--gb-accent" : "--gb-ink");
    c.fillText(text, 0, 0);
    c.restore();
  }

  /* ---- lines ---- */
  function lines(s, f) {
    const { context: c, ratio, sy } = f, n = count(s), cell = s.hover || s.cursor, x0 = s.column, x1 = s.span - s.column;
    const focus = cell || (s.value.position !== null ? { query: s.value.position, key: null } : null), y = (i) => s.top + (i + 0.5) * ROW - sy;
    c.scale(ratio, ratio);
    const drawn = focus ? around(s, focus) : s.links.list;
    const base = focus ? 0.12 : 0, faint = cell ? [] : focus ? s.links.list : [];
    c.save(); c.beginPath(); c.rect(0, s.top, f.w, f.h - s.top); c.clip();
    for (const [i, [q, k, v]] of [...faint, ...drawn].entries()) {
      const a = y(q), b = y(k), strength = Math.min(1, Math.abs(v) / s.range);
      if ((a < 0 && b < 0) || (a > f.h && b > f.h)) continue;
      c.globalAlpha = i < faint.length ? 0.22 * strength : base + (1 - base) * Math.max(0.04, strength); c.strokeStyle = hue(s, v); c.lineWidth = 1 + 2.5 * strength;
      c.beginPath(); c.moveTo(x0 + 4, a); c.bezierCurveTo((x0 + x1) / 2, a, (x0 + x1) / 2, b, x1 - 4, b); c.stroke();
    }
    c.globalAlpha = 1;
    const byKey = new Map(), byQuery = new Map();
    if (focus) for (const [q, k, v] of drawn) (focus.query === null ? byQuery : byKey).set(focus.query === null ? q : k, v);
    c.textBaseline = "middle";
    for (let i = Math.max(0, Math.floor((sy - s.top) / ROW)); i < Math.min(n, (sy + f.h) / ROW); i++) {
      word(s, c, i, x0, y(i), "right", byQuery.get(i), focus?.query === i, i === s.value.position);
      word(s, c, i, x1, y(i), "left", byKey.get(i), focus?.query === null && focus.key === i, false);
    }
    c.restore();
    c.fillStyle = G.css("--gb-muted"); c.font = `12px ${G.css("--gb-sans")}`; c.textBaseline = "middle";
    c.textAlign = "right"; c.fillText(s.value.text.looks_from, x0, 13);
    c.textAlign = "left"; c.fillText(s.value.text.looks_at, x1, 13);
  }
  function around(s, focus) {
    const out = [];
    for (let i = 0; i < count(s); i++) {
      const [q, k] = focus.query === null ? [i, focus.key] : [focus.query, i], v = k < causalEnd(s, q) ? at(s, q, k) : 0;
      if (Math.abs(v) >= 0.005 * s.range) out.push([q, k, v]);
    }
    return out;
  }
  function word(s, c, i, x, y, align, v, focused, pinned) {
    const colour = v === undefined ? null : s.show === "difference" ? G.div(v / s.range) : G.seq(v / s.range), right = align === "right";
    c.font = font(focused || pinned); c.textAlign = align;
    const text = short(s.value.tokens[i]), w = c.measureText(text).width;
    const ground = focused ? G.css("--gb-ink") : colour || (pinned ? G.css("--gb-accent-soft") : null);
    if (ground) { c.fillStyle = ground; c.beginPath(); c.roundRect(right ? x - w - 5 : x - 2, y - 9, w + 7, 18, 3); c.fill(); }
    c.fillStyle = focused ? G.css("--gb-panel") : colour ? G.ink(colour) : pinned ? G.css("--gb-accent") : G.css("--gb-ink");
    c.fillText(text, right ? x - 1 : x + 2, y);
    if (colour && Math.abs(v) >= 0.005) { c.fillStyle = G.css("--gb-muted"); c.font = `11.5px ${G.css("--gb-mono")}`; c.fillText(amount(s, v), right ? x - w - 10 : x + w + 10, y); }
  }
  /* The strongest partners of one word, for tooltip and screen reader. */
  function summary(s, cell) {
    const list = around(s, cell).sort((a, b) => Math.abs(b[2]) - Math.abs(a[2])).slice(0, 5), t = s.value.tokens;
    return [fill(s.value.text.keys, { token: t[cell.query ?? cell.key] }), ...list.map(([q, k, v]) => `${t[q]} \u2192 ${t[k]} ${amount(s, v, 4)}`)].join("\n");
  }

  /* ---- places ---- */
  function pick(s, x, y) {
    const n = count(s), row = (y - s.top + s.box.scrollTop) / s.cell, column = (x - s.left + s.box.scrollLeft) / s.cell;
    if (y < s.top || row < 0 || row >= n) return null;
    if (s.mode === "lines") return x > s.span + 60 ? null : x < s.span / 2 ? { query: Math.floor(row), key: null } : { query: null, key: Math.floor(row) };
    if (column < 0 || column >= n || x < s.left) return null;
    const reach = Math.max(1, Math.ceil(1 / s.cell)), q = Math.floor(row), k = Math.floor(column);
    if (reach === 1) return { query: q, key: k, pooled: false };
    const found = P.strongest((i, j) => at(s, i, j), q, Math.min(n, q + reach), k, Math.min(n, k + reach));
    return { query: found[1], key: found[2], pooled: true };
  }
  /* Scroll so that a cell is visible, or in the middle; returns its place in the canvas. */
  function reveal(s, cell, center = false) {
    const b = s.box, y = cell.query * s.cell, x = (cell.key ?? 0) * s.cell;
    if (center && y + s.cell + s.top > b.clientHeight) b.scrollTop = y - (b.clientHeight - s.top) / 2;
    else b.scrollTop = Math.max(Math.min(b.scrollTop, y), y + s.cell + s.top + 14 - b.clientHeight);
    if (s.mode === "matrix") b.scrollLeft = Math.max(Math.min(b.scrollLeft, x), x + s.cell + s.left + 14 - b.clientWidth);
    return { x: s.mode === "lines" ? s.column : s.left + x + s.cell / 2 - b.scrollLeft, y: s.top + y + s.cell / 2 - b.scrollTop };
  }
  return { range, links, best, measure, render, summary, pick, reveal, at, count, short, kind, colourIndex, hue };
})();
