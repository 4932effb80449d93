/* The film of a training (app/components/film.py): everything is here, so that it plays without the server.
   Event 'filmframe' {frame} when the moment comes to rest, 'filmhead' {layer, head} when a head is chosen, 'filmlook' {role, prompt}
   when another score of the heads or another prompt is. */
const G = window.Glassbox, P = G.pixels, { el, fill } = G;
const root = element.querySelector(".gb-host");
root.classList.add("fm");
const REST = 350, SPEEDS = { slow: 400, normal: 160, fast: 60 };      // milliseconds; of a frame
let value = null, film = null, parts = null, at = 0, head = [0, 0], role = 2, prompt = 0, playing = 0, resting = 0, drawing = 0, speed = "normal";

const term = (text, tip, cls = "") => el("dfn", { class: `gb-term ${cls}`, tabindex: "0", dataset: { tip }, text });
const card = (title, tip, cls = "") => {
  const body = el("div"), tools = el("div", { class: "fm-tools" });
  return { node: el("section", { class: `fm-card ${cls}` }, [el("div", { class: "fm-chart-head" }, [el("h3", { class: "fm-title" }, [term(title, tip)])]), tools, body]), tools, body };
};
function choice(label, options, current, pick) {          // a row of buttons of which one is pressed
  const buttons = options.map(([text, tip], i) => el("button", { type: "button", class: "gb-button fm-choice", "aria-pressed": String(i === current), dataset: { tip: tip || "" }, text,
    onclick: () => { buttons.forEach((b, k) => b.setAttribute("aria-pressed", String(k === i))); pick(i); } }));
  const group = el("div", { class: "fm-choices", role: "group", "aria-label": label }, buttons);
  G.tooltip(group, ".fm-choice", (b) => b.dataset.tip);
  return group;
}

/* ---- numbers ---------------------------------------------------------------------------------------------------- */
async function unpacked(next) {
  const { reel, text, lang } = next, frames = reel.steps.length, { layers, heads } = reel;
  const scores = await P.unpack(reel.scores), sheets = await Promise.all(reel.prompts.map((p) => P.grey(p.png)));
  const compact = new Intl.NumberFormat(lang, { notation: "compact", compactDisplay: "long", maximumSignificantDigits: 3 }), whole = new Intl.NumberFormat(lang);
  const count = (i) => (reel.tokens ? compact.format(reel.tokens[i]) : whole.format(reel.steps[i]));
  const moment = (i) => (reel.steps[i] === 0 ? text.untrained : fill(reel.tokens ? text.tokens : text.steps, { tokens: count(i), step: count(i) }));
  const score = (r, i, l, h) => scores[((r * frames + i) * layers + l) * heads + h];
  const weight = (p, i, l, h, q, k) => {
    const n = reel.prompts[p].tokens.length, sheet = sheets[p];
    return k > q ? 0 : sheet.values[(l * frames + i) * sheet.width + (h * n * (n + 1)) / 2 + (q * (q + 1)) / 2 + k] / 255;
  };
  const best = (r, i) => { let top = [0, 0]; for (let l = 0; l < layers; l++) for (let h = 0; h < heads; h++) if (score(r, i, l, h) > score(r, i, ...top)) top = [l, h]; return top; };
  const last = reel.steps.at(-1), where = (i) => fill(text.moment, { step: whole.format(reel.steps[i]), steps: whole.format(last) });
  return { reel, text, lang, frames, score, weight, best, count, moment, where };
}

/* ---- building --------------------------------------------------------------------------------------------------- */
function build() {
  const { reel, text } = film;
  parts = { transport: transport(), charts: [] };
  const curves = el("div", { class: "fm-curves" }), said = bumpSaid();
  root.replaceChildren(parts.transport.node, curves, said);
  for (const make of [lossChart, copyChart, bestChart]) {
    const host = el("section", { class: "fm-card" });
    curves.append(host);
    const chart = make(host);
    if (chart) parts.charts.push(chart);
  }
  const all = card(text.grid_title, text.grid_tip), one = card(text.pattern_title, text.pattern_tip, "fm-one");
  root.append(el("div", { class: "fm-pair" }, [el("div", { class: "fm-stack" }, [all.node]), one.node]));
  all.tools.append(choice(text.role_label, reel.roles.map((r) => [text[r], text[`${r}_tip`]]), role, (r) => { role = r; parts.grid.role(r); looked(); }));
  parts.grid = G.filmGrid(all.body, film, choose);
  parts.title = one.node.querySelector(".fm-title dfn");
  const track = el("section", { class: "fm-card" });
  all.node.after(track);
  parts.track = track;
  const next = card(text.next_title, text.next_tip), sample = card(text.sample_title, text.sample_tip);
  root.append(el("div", { class: "fm-pair" }, [next.node, sample.node]));
  if (reel.prompts.length) {
    one.tools.append(prompts());
    next.tools.append(prompts());
    parts.pattern = G.filmPattern(one.body, film);
    parts.next = G.filmNext(next.body, film);
  }
  parts.sample = G.filmSample(sample.body, film);
  pickPrompt(Math.min(prompt, Math.max(0, reel.prompts.length - 1)));
  parts.grid.role(role);
}
function prompts() {
  const { reel, text } = film;
  const group = choice(text.prompt_label, reel.prompts.map((p) => [p.label, p.tokens.join("")]), prompt, (p) => { pickPrompt(p); looked(); });
  group.classList.add("fm-prompts");
  return group;
}
const looked = () => trigger("filmlook", { role, prompt });
function pickPrompt(p) {
  prompt = p;
  root.querySelectorAll(".fm-prompts").forEach((g) => [...g.children].forEach((b, k) => b.setAttribute("aria-pressed", String(k === p))));
  if (!parts.pattern) return;
  parts.next.prompt(p);
  parts.next.frame(at);
  parts.pattern.show(p, ...head);
  parts.pattern.frame(at);
}

function transport() {
  const { reel, text } = film, last = film.frames - 1;
  const play = el("button", { type: "button", class: "gb-button fm-play", onclick: () => (playing ? stop() : start()) });
  const step = (by, label, sign) => el("button", { type: "button", class: "gb-button fm-step", "aria-label": label, text: sign, onclick: () => { stop(); go(at + by); } });
  const slider = el("input", { type: "range", class: "fm-slider", min: 0, max: last, step: 1, "aria-label": text.slider, oninput: () => { stop(); go(Number(slider.value)); } });
  const rate = el("select", { class: "fm-speed", "aria-label": text.speed, onchange: () => { speed = rate.value; } }, Object.keys(SPEEDS).map((k) => el("option", { value: k, text: text[k], selected: k === speed })));
  const moment = el("b", { class: "fm-moment" }), where = el("span", { class: "fm-where" });
  const node = el("div", { class: "fm-transport" }, [play, step(-1, text.back, "\u2039"), slider, step(1, text.on, "\u203a"), el("span", { class: "fm-readout" }, [moment, where]), rate]);
  return { node, play, slider, moment, where };
}
function showPlaying() {
  const { play } = parts.transport;
  play.textContent = `${playing ? "\u275a\u275a" : "\u25b6\ufe0e"} ${playing ? film.text.pause : film.text.play}`;
  play.setAttribute("aria-pressed", String(Boolean(playing)));
}

/* ---- curves ----------------------------------------------------------------------------------------------------- */
function chart(host, name, series, more) {
  const { reel, text } = film;
  return G.filmChart(host, {
    name, series, model: reel.model, steps: reel.steps, tokens: reel.tokens, x: reel.tokens || reel.steps, xTitle: reel.tokens ? text.x_tokens : text.x_steps,
    lang: film.lang, text, pick: (i) => { stop(); go(i); }, moment: film.moment, print: (v) => v.toFixed(2), bump: null, bumpLabel: text.bump, ...more,
    at: (i) => [fill(text.hover_at, { moment: film.moment(i), where: film.where(i) }), ...series.filter((s) => s.values[i] !== null).map((s) => (more.hover ? more.hover(s, i) : `${s.label}: ${s.values[i].toFixed(2)}`)), text.pick].join("\n"),
  });
}
const nats = (s, i) => fill(film.text.hover_loss, { name: s.label, loss: s.values[i].toFixed(2), perplexity: new Intl.NumberFormat(film.lang, { maximumSignificantDigits: 3 }).format(Math.exp(s.values[i])) });
function named(names, colours, dashes = {}) {
  const { reel, text } = film;
  return names.map((n, i) => ({ name: n, label: text[n], tip: text[`${n}_tip`], colour: `--gb-cat-${colours[i]}`, dash: dashes[n] || null, values: reel.curves[n] }));
}
function lossChart(host) {
  const { text } = film;
  const series = named(["validation_loss", "train_loss"], [1, 2], { train_loss: "5 4" }).filter((s) => s.values.some((v) => v !== null));
  if (!series.length) { host.replaceChildren(el("h3", { class: "fm-title" }, [term(text.loss_title, text.loss_tip)]), el("p", { class: "fm-small", text: text.no_loss })); return null; }
  return chart(host, "loss", series, { title: text.loss_title, tip: text.loss_tip, unit: text.unit_loss, hover: nats });
}
function copyChart(host) {
  const { reel, text } = film, [a, b] = [reel.curves.first_copy_loss, reel.curves.second_copy_loss];
  return chart(host, "copying", named(["first_copy_loss", "second_copy_loss"], [2, 3]), { title: text.copy_title, tip: text.copy_tip, unit: text.unit_loss, hover: nats,
    band: [0, 1], bump: reel.bump, extra: (i) => [{ label: text.gap, tip: text.gap_tip, value: G.num(a[i] - b[i]) }] });
}
function roleSeries(valuesOf) {
  const { reel, text } = film;
  return reel.roles.map((r, k) => ({ name: r, label: text[r], tip: text[`${r}_tip`], colour: `--gb-cat-${[1, 5, 4][k]}`, dash: [null, "2 3", "7 3"][k], values: reel.steps.map((_, i) => valuesOf(k, i)) }));
}
function bestChart(host) {
  const { reel, text } = film;
  const hover = (s, i) => { const k = reel.roles.indexOf(s.name); return fill(text.hover_best, { role: s.label, head: `L${film.best(k, i)[0]}H${film.best(k, i)[1]}`, value: s.values[i].toFixed(2) }); };
  return chart(host, "best-heads", roleSeries((k, i) => film.score(k, i, ...film.best(k, i))), { title: text.best_title, tip: text.best_tip, unit: text.unit_score, low: 0, high: 1, bump: reel.bump, hover });
}
function trackChart() {
  const { text } = film, place = `L${head[0]}H${head[1]}`;
  parts.trackChart = chart(parts.track, `head-${place}`, roleSeries((k, i) => film.score(k, i, ...head)), { title: fill(text.track_title, { head: place }), tip: text.track_tip, unit: text.unit_score, low: 0, high: 1, height: 170 });
  parts.trackChart.frame(at);
}
function bumpSaid() {
  const { reel, text } = film, gain = reel.curves.first_copy_loss.map((a, i) => a - reel.curves.second_copy_loss[i]);
  if (reel.bump === null) return el("p", { class: "fm-bump", text: fill(text.no_bump, { gain: G.num(Math.max(...gain)), threshold: G.num(reel.threshold, 1) }) });
  const i = reel.bump, j = i + 1, r = reel.roles.indexOf("induction"), after = film.best(r, film.frames - 1);
  const told = fill(text.bump_said, { from: film.count(i), to: film.moment(j), before: G.num(gain[i]), after: G.num(gain[j]) });
  const end = fill(text.bump_last, { gain: G.num(gain.at(-1)), head: `L${after[0]}H${after[1]}`, score: film.score(r, film.frames - 1, ...after).toFixed(2) });
  return el("div", { class: "fm-bump" }, [el("p", { text: `${told} ${end} ${text.bump_source}` }), el("button", { type: "button", class: "gb-button", text: text.bump_show, onclick: () => { stop(); go(j); } })]);
}

/* ---- playing ---------------------------------------------------------------------------------------------------- */
function go(i) {
  at = Math.max(0, Math.min(film.frames - 1, i));
  show();
  rest();
}
function rest() {
  clearTimeout(resting);
  resting = playing ? 0 : setTimeout(() => { resting = 0; trigger("filmframe", { frame: at }); }, REST);
}
function show() {
  const { slider, moment, where } = parts.transport;
  slider.value = at;
  slider.style.setProperty("--fm-done", `${(100 * at) / Math.max(1, film.frames - 1)}%`);
  moment.textContent = film.moment(at);
  where.textContent = film.where(at);
  slider.setAttribute("aria-valuetext", `${film.moment(at)}, ${film.where(at)}`);
  for (const part of [...parts.charts, parts.trackChart, parts.grid, parts.pattern, parts.next, parts.sample]) part?.frame(at);
  element.dataset.frame = at;
}
function start() {
  if (at === film.frames - 1) at = 0;
  let since = performance.now();
  const tick = (now) => {
    if (!playing) return;
    if (!root.isConnected || !root.clientWidth) return stop();
    if (now - since >= SPEEDS[speed]) {
      since = Math.max(since + SPEEDS[speed], now - SPEEDS[speed]);
      if (at >= film.frames - 1) return stop();
      go(at + 1);
    }
    playing = requestAnimationFrame(tick);
  };
  playing = requestAnimationFrame(tick);
  show();
  showPlaying();
}
function stop() {
  if (!playing) return;
  cancelAnimationFrame(playing);
  playing = 0;
  showPlaying();
  rest();
}
function choose(layer, number, settled) {
  if (settled) return trigger("filmhead", { layer, head: number });
  selectHead(layer, number);
}
function selectHead(layer, number) {
  head = [layer, number];
  parts.grid.select(layer, number);
  parts.title.textContent = fill(film.text.pattern_title, { head: `L${layer}H${number}` });
  trackChart();
  parts.pattern?.show(prompt, layer, number);
  parts.pattern?.frame(at);
}

/* ---- value ------------------------------------------------------------------------------------------------------ */
async function draw() {
  const next = G.snapshot(props);
  if (!next || next.id === value?.id) return;
  const turn = ++drawing;
  if (!next.reel) { stop(); [value, film, parts] = [next, null, null]; root.replaceChildren(); element.dataset.painted = value.id; return; }
  const fresh = next.reel.id !== value?.reel?.id, said = JSON.stringify(next.text) !== JSON.stringify(value?.text);
  const unpack = fresh || said ? await unpacked(next) : film;
  if (turn !== drawing) return;
  if (fresh) stop();
  if (!value) [role, prompt] = [next.role, next.prompt];
  [value, film] = [next, unpack];
  if (fresh || !(playing || resting)) at = next.frame;    // a reader who is on the move is not sent back
  head = [next.layer, next.head];                         // the old film may have had more heads
  if (fresh || said) build();
  showPlaying();
  selectHead(next.layer, next.head);
  show();
  element.dataset.painted = value.id;
}
const pictures = () => [...parts.charts, parts.trackChart, parts.pattern, parts.grid].filter(Boolean);
new ResizeObserver(() => { if (parts && root.clientWidth) { pictures().forEach((p) => p.resize()); show(); } }).observe(root);
G.onTheme(() => { if (!parts) return; pictures().forEach((p) => p.redraw?.()); show(); }, element);
watch("value", draw);
draw();
