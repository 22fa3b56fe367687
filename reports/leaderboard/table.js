// The table: its head, and a row for each entry, made once for the columns that there are.

const board = document.getElementById("board");
let made = { columns: "", rows: new Map() };

function fits(entry, state) {
  const league = leagueOf(entry);
  if (state.suite && league.scheme !== state.suite) return false;
  if (state.backbone && league.base !== state.backbone) return false;
  const isReference = entry.role !== "merged";
  if (isReference && state.references !== "shown") return false;
  if (!isReference && state.protocol && entry.protocol !== state.protocol) return false;
  if (!isReference && state.method && entry.method !== state.method) return false;
  if (!state.find) return true;
  const text = [entry.title, entry.method, entry.settings, entry.protocol, league.backbone, league.label].join(" ");
  return state.find.toLowerCase().split(/\s+/).every((word) => text.toLowerCase().includes(word));
}

function drawTable(state) {
  const { columns, sorted, descending } = sorting(state);
  layOut(columns);
  drawHead(columns, sorted, descending);
  const signature = [state.by, ...columns.map((column) => column.key)].join("\n");
  if (made.columns !== signature) made = { columns: signature, rows: new Map() };
  const entries = data.entries.filter((entry) => fits(entry, state)).sort(comparison(sorted, descending));
  const leagues = new Set(entries.map((entry) => entry.league));
  const rows = [];
  entries.forEach((entry, place) => {
    const before = entries[place - 1];
    const isFirst = !before || before.league !== entry.league;
    if (isFirst && leagues.size > 1) rows.push(leagueRow(entry));
    const row = rowOf(entry, columns);
    // A link that is opened in another tab shows the same table there.
    row.querySelector("[data-entry]").href = address({ ...state, entry: entry.id });
    row.classList.toggle("begins", sorted.key === "rank" && !isFirst && begins(before, entry, state.by));
    rows.push(row);
  });
  board.tBodies[0].replaceChildren(...rows);
  drawCount(entries);
}

function layOut(columns) {
  const tracks = columns.map(({ width: [least, share] }) => share ? `minmax(${least}rem, ${share}fr)` : `${least}rem`);
  board.style.setProperty("--columns", tracks.join(" "));
  board.style.setProperty("--least", `${columns.reduce((sum, { width }) => sum + width[0], 0)}rem`);
}

function begins(before, entry, by) {
  return before.role !== entry.role || before.ranks[by] !== entry.ranks[by];
}

function leagueRow(entry) {
  const heading = element("th", { role: "cell" }, leagueText(leagueOf(entry)));
  return element("tr", { class: "league", role: "row" }, heading);
}

function drawHead(columns, sorted, descending) {
  const cells = columns.map((column) => {
    const order = column !== sorted ? "none" : descending ? "descending" : "ascending";
    const button = element("button", { type: "button", "data-sort": column.key }, column.title);
    return element("th", { role: "columnheader", "aria-sort": order, class: column.number ? "number" : column.key }, button);
  });
  // A button that was pressed keeps the keyboard's focus.
  const focused = board.contains(document.activeElement) && document.activeElement.dataset.sort;
  board.tHead.replaceChildren(element("tr", { role: "row" }, ...cells));
  if (focused) [...board.tHead.querySelectorAll("button")].find((one) => one.dataset.sort === focused)?.focus();
}

function rowOf(entry, columns) {
  if (!made.rows.has(entry.id)) {
    const cells = columns.map((column) => {
      const kind = column.number ? `number ${column.key}` : column.key;
      return element("td", { class: kind, role: "cell", "data-title": column.title }, ...[content(column, entry)].flat());
    });
    made.rows.set(entry.id, element("tr", { class: entry.role, role: "row" }, ...cells));
  }
  return made.rows.get(entry.id);
}

function content(column, entry) {
  if (column.cell) return column.cell(entry);
  return column.number ? number(column.number(entry)?.mean) : column.value(entry);
}

function drawCount(entries) {
  const shown = entries.filter((entry) => entry.role === "merged").length;
  const all = data.entries.filter((entry) => entry.role === "merged").length;
  const text = document.getElementById("count");
  text.textContent = shown === all ? `${all} ${all === 1 ? "entry" : "entries"}` : `${shown} of ${all} entries`;
  const leagues = [...new Set(entries.map(leagueOf))];
  if (leagues.length === 1) text.append(` · ${leagueText(leagues[0])}`);
  if (shown < all) text.append(" ", element("button", { type: "button", "data-clear": "" }, "Show all"));
}
