/* What a model would say at a moment of its training (film.js): the likeliest next tokens after a prompt, and a sample.
   next(host, film) -> {frame(i), prompt(p)}; sample(host, film) -> {frame(i)}. */
(() => {
  "use strict";
  const G = window.Glassbox, { el, fill, sx } = G;
  if (G.filmNext) return;
  const run = ([text, mark]) => (mark ? el("span", { class: "fm-ws", dataset: { mark }, text }) : text);
  const context = (tokens) => tokens.map((t) => t.replace(/\u00b7/g, " ").replace(/\u21b5/g, "\n")).join("");

  G.filmNext = function next(host, film) {
    const { reel, text } = film;
    const list = el("div", { class: "fm-next", role: "list", "aria-label": text.next_title }), note = el("span", { class: "fm-small" }), foot = el("div", { class: "fm-foot" }, [note]);
    host.replaceChildren(list, foot);
    G.exportMenu(foot, { name: `${reel.model}-next`, svg, csv, json, text });
    let at = 0, index = 0, rows = [];
    const top = (i = at) => reel.prompts[index].top[i], share = (p) => Math.min(1, p / reel.prompts[index].scale);

    function prompt(p) {
      index = p;
      rows = top(0).map((_, i) => {
        const parts = [el("span", { class: "gb-token" }), el("span", { class: "fm-bar" }, [el("span")]), el("span", { class: "fm-p" })];
        return { node: el("div", { class: "fm-next-row", role: "listitem", tabindex: i ? "-1" : "0" }, parts), parts };
      });
      list.replaceChildren(...rows.map((r) => r.node));
      note.textContent = fill(text.next_scale, { max: G.pct(reel.prompts[index].scale) });
    }
    function frame(i) {
      at = i;
      top().forEach(([token, p], k) => {
        const [word, bar, number] = rows[k].parts;
        if (word.textContent !== token) word.textContent = token;
        bar.firstChild.style.width = `${(100 * share(p)).toFixed(2)}%`;
        number.textContent = G.pct(p);
      });
    }
    G.roving(list, { selector: ".fm-next-row", vertical: true });
    G.tooltip(list, ".fm-next-row", (node) => { const [token, p] = top()[rows.findIndex((r) => r.node === node)]; return fill(text.hover_next, { token, p: G.pct(p), moment: film.moment(at) }); });

    function svg() {
      const left = 24 + 8 * Math.max(4, ...top().map(([t]) => t.length)), ink = G.css("--gb-ink"), title = `${reel.prompts[index].label} \u00b7 ${reel.model} \u00b7 ${film.moment(at)}`;
      const bars = top().flatMap(([t, p], i) => [
        sx("text", { x: left - 8, y: 50 + 24 * i, "text-anchor": "end", fill: ink }, null, t),
        sx("rect", { x: left, y: 38 + 24 * i, width: 300 * share(p), height: 16, fill: G.css("--gb-seq-5") }),
        sx("text", { x: left + 308, y: 50 + 24 * i, fill: ink }, null, G.pct(p))]);
      return G.svgDoc(Math.max(left + 380, 40 + 8 * title.length), 48 + 24 * top().length, [sx("text", { x: 8, y: 20, fill: ink }, null, title), ...bars], title);
    }
    const columns = ["prompt", "frame", "step", "tokens", "rank", "token", "probability"];
    const table = () => reel.prompts.flatMap((p) => p.top.flatMap((row, i) => row.map(([t, x], k) => [context(p.tokens), i, reel.steps[i], reel.tokens ? reel.tokens[i] : null, k + 1, t, x])));
    function csv() { return G.csvRows([columns, ...table()]); }
    function json() { return { model: reel.model, columns, rows: table() }; }
    return { frame, prompt };
  };

  G.filmSample = function sample(host, film) {
    const { reel, text } = film, plain = (runs) => runs.map(([s]) => s).join("");
    const said = el("div", { class: "fm-sample gb-scroll", tabindex: "0" }), foot = el("div", { class: "fm-foot" }, [el("span", { class: "fm-generated", text: text.generated })]);
    host.replaceChildren(said, foot);
    const columns = ["frame", "step", "tokens", "prompt", "generated_text"];
    const table = () => reel.sample.texts.map((runs, i) => [i, reel.steps[i], reel.tokens ? reel.tokens[i] : null, plain(reel.sample.prompt), plain(runs)]);
    G.exportMenu(foot, { name: `${reel.model}-samples`, csv: () => G.csvRows([columns, ...table()]), json: () => ({ model: reel.model, columns, rows: table() }), text });
    said.addEventListener("copy", (e) => {               // what a model wrote stays marked where it is pasted
      e.clipboardData.setData("text/plain", `[${fill(text.generated_by, { model: reel.model })}] ${getSelection()}`);
      e.preventDefault();
    });
    return { frame: (i) => said.replaceChildren(el("span", { class: "fm-given" }, reel.sample.prompt.map(run)), el("span", { class: "fm-written" }, reel.sample.texts[i].map(run))) };
  };
})();
