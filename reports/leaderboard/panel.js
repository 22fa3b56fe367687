// The panel of an entry: its scores, pictures, recipe, and what it said beside the expert.

const panel = document.getElementById("panel");
const compressed = JSON.parse(document.getElementById("details").textContent);
const unpacked = [];

/** What the panel shows of an entry: the details of its run are unpacked when the first of them is asked for. */
async function detailsOf({ details: [run, id] }) {
  unpacked[run] ??= unpack(compressed[run]);
  return (await unpacked[run])[id];
}

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).json();
}

function drawPanel(id) {
  const entry = data.entries.find((one) => one.id === id);
  if (!entry) {
    if (panel.open) panel.close();
    return;
  }
  if (panel.dataset.shows !== id) {
    panel.dataset.shows = id;
    const content = element("div", { class: "content", "aria-busy": "true" });
    panel.replaceChildren(heading(entry), content);
    detailsOf(entry).then((details) => {
      content.append(...[facts(entry, details), scores(entry, details), pictures(entry, details),
        recipe(entry, details), outputs(entry, details)].filter(Boolean));
    }).catch(() => {
      content.append(element("p", {}, "This browser cannot unpack the details; a newer one can."));
    }).finally(() => content.removeAttribute("aria-busy"));
  }
  if (!panel.open) {
    panel.showModal();
    panel.querySelector(".content").scrollTop = 0;
  }
}

function heading(entry) {
  const close = element("button", { type: "button", class: "close", "aria-label": "Close" }, "×");
  close.addEventListener("click", () => panel.close());
  return element("div", { class: "heading" }, element("h2", { id: "panel-title" }, entry.title), close);
}

function facts(entry, details) {
  const league = leagueOf(entry);
  const average = entry.average
    ? [number(entry.average.mean), interval(entry.average.documents), seedsText(entry.average)].filter(Boolean).join(" ")
    : entry.scored[0] < entry.scored[1] ? `incomplete (${entry.scored.join("/")} benchmarks)` : UNKNOWN;
  const worst = entry.worst_task
    ? [number(entry.worst_task.mean), interval(entry.worst_task.documents), `(${weakestOf(entry)})`].join(" ")
    : UNKNOWN;
  const told = {
    Rank: rankText(entry),
    Average: average,
    "Worst task": worst,
    Gap: entry.gap && [number(entry.gap.mean), interval(entry.gap.documents)].join(" "),
    Method: [entry.method, entry.settings].filter(Boolean).join(": "),
    Protocol: entry.protocol,
    Suite: leagueText(league),
    Documents: `${entry.n.toLocaleString("en")}, ${count(entry.seeds, "seed")}`,
    Scoring: league.settings,
    Experts: entry.experts && `${entry.experts}: not the same for all entries that it is ranked with`,
    Source: entry.sources.map((source) => `run ${source.run} in ${source.store}`).join("; "),
    Checkpoint: details.checkpoints.map((one) => `${one.path} (${one.digest.slice(0, 12)})`).join("; "),
  };
  const list = Object.entries(told).filter(([, text]) => text)
    .flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)]);
  const notes = [...league.left_out, ...details.notes].map((note) => element("li", {}, note));
  return element("section", {}, element("dl", {}, ...list), notes.length ? element("ul", { class: "notes" }, ...notes) : null);
}

function rankText(entry) {
  if (entry.ranks.average === null) return entry.role === "merged" ? "none" : "none: a reference";
  const rivals = data.entries.filter((one) => one.league === entry.league);
  const of = (by) => `${entry.ranks[by]} of ${Math.max(...rivals.map((one) => one.ranks[by] ?? 0))}`;
  return `${of("average")} by average, ${of("worst_task")} by worst task`;
}

function seedsText(spread) {
  return spread.seeds ? `over documents, ${interval(spread.seeds)} over seeds` : "";
}

function scores(entry, details) {
  const rows = leagueOf(entry).tasks.flatMap((task, place) => {
    const ofTask = details.scores.filter((one) => one.task === task);
    const lines = ofTask.map((one) => scoreRow(one, task, withInterval(one.performance)));
    return ofTask.length > 1 ? [...lines, meanRow(task, entry.tasks[place])] : lines;
  });
  const watched = details.scores.filter((one) => one.task === null)
    .map((one) => scoreRow(one, "", withInterval(one.forgetting, true)));
  return element("section", {},
    element("h3", {}, "Scores"), scoreTable("Scores", "NP", rows),
    ...(watched.length ? [element("h3", {}, "What it forgot"), scoreTable("What it forgot", "Minus base", watched)] : []));
}

function scoreTable(name, outcome, rows) {
  const titles = ["Task", "Benchmark", outcome, "Score", "Expert", "Base", "n"];
  // Where a row is stacked, on a phone, each number says what it is.
  for (const row of rows) [...row.cells].forEach((cell, place) => { cell.dataset.title = titles[place]; });
  const head = titles.map((title, place) => element("th", { scope: "col", class: place > 1 ? "number" : null }, title));
  const table = element("table", { class: "scores" },
    element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
  return scroller(`${name}, a table that scrolls sideways`, table);
}

function scoreRow(one, task, outcome) {
  const about = [one.metric, one.higher_is_better ? "" : "lower is better", one.left_out ? "left out of averages" : ""];
  const n = one.n === null ? UNKNOWN : one.n.toLocaleString("en");
  const numbers = [outcome, withInterval(one.score), [number(one.expert)], [number(one.base)], [n]];
  return element("tr", {},
    element("td", {}, task || UNKNOWN),
    element("td", {}, one.benchmark, " ", element("span", { class: "quiet" }, about.filter(Boolean).join("; "))),
    ...numbers.map((shown) => element("td", { class: "number" }, ...shown)));
}

function meanRow(task, spread) {
  return element("tr", { class: "mean" }, element("td", {}, task), element("td", {}, "mean"),
    element("td", { class: "number" }, ...withInterval(spread)), element("td", { colspan: 4 }));
}

function withInterval(spread, signed = false) {
  if (!spread) return [UNKNOWN];
  return [number(spread.mean, signed), " ", element("span", { class: "interval" }, interval(spread.documents, signed))];
}

function pictures(entry, details) {
  if (entry.role !== "merged") return null;
  const spreads = [["average", entry.average], ...leagueOf(entry).tasks.map((task, place) => [task, entry.tasks[place]])];
  const most = Math.max(1, ...spreads.map(([, spread]) => spread?.documents?.[1] ?? 1));
  const bars = spreads.flatMap(([name, spread]) => [
    element("span", {}, name), spread?.documents ? bar(spread, most) : element("span", {}),
    element("span", { class: "number" }, number(spread?.mean)),
  ]);
  const shown = [element("figure", {}, element("div", { class: "bars" }, ...bars),
    element("figcaption", {}, "Normalised performance by task; the line is the task's expert"))];
  if (details.rounds) {
    const title = "Normalised performance over the rounds";
    const file = `data:image/svg+xml,${encodeURIComponent(details.rounds)}`;
    shown.push(element("figure", {},
      scroller(`${title}, a picture that scrolls sideways`,
        element("img", { src: file, alt: `${title}; the numbers of the last one are in the table above` })),
      element("figcaption", { class: "wide" }, title)));
  }
  return element("section", { class: "pictures" }, ...shown);
}

function recipe(entry, details) {
  if (!details.recipe) return null;
  const text = element("pre", { tabindex: "0" }, details.recipe);
  const copy = element("button", { type: "button" }, "Copy");
  copy.addEventListener("click", async () => {
    getSelection().selectAllChildren(text);
    try {
      await navigator.clipboard.writeText(details.recipe);
      copy.textContent = "Copied";
    } catch {
      copy.textContent = "Selected: press Ctrl+C";
    }
  });
  const rounds = entry.protocol === "many-shot"
    ? element("p", { class: "quiet" }, "In every round each expert was trained from the merged model, as the experiment's file says.")
    : null;
  return element("section", { class: "recipe" }, element("h3", {}, "Recipe ", copy), rounds, text, code(details));
}

function code(details) {
  if (!details.code) return null;
  return element("details", {}, element("summary", {}, "The method in Python"), element("pre", { tabindex: "0" }, details.code));
}

function outputs(entry, details) {
  if (!details.samples.length) return null;
  const parts = details.samples.map((one, place) => {
    const part = element("details", {}, element("summary", {}, one.benchmark), ...one.documents.map(sample));
    part.open = place === 0;
    return part;
  });
  const which = "The documents of each benchmark on which it and the task's expert differ most, so not typical ones.";
  return element("section", { class: "outputs" }, element("h3", {}, "Outputs"), element("p", { class: "quiet" }, which), ...parts);
}

function sample(one) {
  return element("article", {},
    element("h4", {}, `${one.lm_eval_task}, document ${one.doc_id}`),
    said("Prompt", one.prompt),
    element("div", { class: "beside" },
      said(`Merged, score ${number(one.scores[0])}`, one.outputs[0]),
      said(`Expert, score ${number(one.scores[1])}`, one.outputs[1]),
      said("Expected", one.target)));
}

function said(who, text) {
  const missing = text === null ? "not recorded" : text.trim() === "" ? "empty" : "";
  const shown = missing ? element("p", { class: "quiet" }, `(${missing})`) : element("pre", { dir: "auto" }, text);
  return element("div", { class: "said" }, element("h5", {}, who), shown);
}
