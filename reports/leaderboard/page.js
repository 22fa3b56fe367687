// Puts it together: the address says what is shown, and every control changes the address.

const filters = document.getElementById("filters");
let shownState = null;

function choices(name, all, pairs) {
  const select = filters.elements[name];
  const options = [...new Map(pairs)].filter(([value]) => value).sort((one, other) => names.compare(one[1], other[1]));
  if (all) options.unshift(["", all]);
  select.replaceChildren(...options.map(([value, text]) => element("option", { value }, text)));
}

function fillFilters() {
  const merged = data.entries.filter((entry) => entry.role === "merged");
  choices("suite", "all", data.leagues.map((league) => [league.scheme, league.label]));
  choices("backbone", "all", data.leagues.map((league) => [league.base, league.backbone]));
  choices("protocol", "all", merged.map((entry) => [entry.protocol, entry.protocol]));
  choices("method", "all", merged.map((entry) => [entry.method, entry.method]));
  choices("by", "", [["average", "average"], ["worst_task", "worst task"]]);
}

function showControls(state) {
  const { columns, sorted, descending } = sorting(state);
  filters.elements.sort.replaceChildren(...columns.map((column) => element("option", { value: column.key }, column.title)));
  filters.elements.sort.value = sorted.key;
  for (const name of ["suite", "backbone", "protocol", "method", "by"]) filters.elements[name].value = state[name];
  if (filters.elements.find !== document.activeElement) filters.elements.find.value = state.find;
  filters.elements.references.checked = state.references === "shown";
  const turn = document.getElementById("turn");
  turn.textContent = descending ? "↓" : "↑";
  turn.setAttribute("aria-label", descending ? "Descending; turn round" : "Ascending; turn round");
}

/** An address may name what is no longer there: then nothing is filtered by it. */
function known(state) {
  const has = (name) => [...filters.elements[name].options].some((option) => option.value === state[name]);
  const kept = Object.keys(state).filter((name) => !(filters.elements[name] instanceof HTMLSelectElement) || name === "sort" || has(name));
  return { ...USUAL, ...Object.fromEntries(kept.map((name) => [name, state[name]])) };
}

function stateShown() {
  return known(readState());
}

function show() {
  const state = stateShown();
  const { entry, ...table } = state;
  const text = JSON.stringify(table);
  if (text !== shownState) {
    shownState = text;
    drawTable(state);
    showControls(state);
  }
  drawPanel(entry);
}

/** Sort by a column, or turn round where the table is sorted by it. */
function sortBy(key) {
  const now = sorting(stateShown());
  const column = now.columns.find((one) => one.key === key);
  if (!column) return;
  const usual = startsDescending(column);
  const descending = now.sorted === column ? !now.descending : usual;
  go({ sort: key, order: descending === usual ? "" : descending ? "down" : "up" });
}

filters.addEventListener("submit", (event) => event.preventDefault());
filters.addEventListener("input", (event) => {
  const { name, value, checked } = event.target;
  if (name === "find") go({ find: value.trim() }, { inPlace: true });
  else if (name === "references") go({ references: checked ? "shown" : "hidden" });
  else if (name === "sort") go({ sort: value, order: "" });
  else go({ [name]: value });
});
document.getElementById("turn").addEventListener("click", () => sortBy(filters.elements.sort.value));
document.addEventListener("click", (event) => {
  const pressed = event.target.closest("[data-sort], [data-entry], [data-clear]");
  if (!pressed || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  if (pressed.dataset.sort) sortBy(pressed.dataset.sort);
  else if (pressed.dataset.entry) go({ entry: pressed.dataset.entry });
  else go({ suite: "", backbone: "", protocol: "", method: "", find: "" });
});
panel.addEventListener("click", (event) => { if (event.target === panel) panel.close(); });
panel.addEventListener("close", () => { if (readState().entry) go({ entry: "" }); });
addEventListener("hashchange", show);
fillFilters();
show();
