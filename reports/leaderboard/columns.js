// The columns of the table: how wide each is, what it shows, and what it sorts by.

const data = JSON.parse(document.getElementById("data").textContent);
const names = new Intl.Collator("en", { numeric: true });

function leagueOf(entry) {
  return data.leagues[entry.league];
}

function leagueText({ suite, backbone, limit, without }) {
  const limited = limit === null ? "" : `at most ${limit} documents of each lm-eval task`;
  return [suite, `backbone ${backbone}`, limited, without].filter(Boolean).join(" · ");
}

/** Whether there is but one, in all or because it was chosen: then no column needs to say which. */
function isSettled(chosen, kind) {
  return chosen !== "" || new Set(data.leagues.map((league) => league[kind])).size === 1;
}

/** The league whose tasks have columns: where all that may be shown have the same. */
function schemeShown(state) {
  if (!isSettled(state.suite, "scheme")) return undefined;
  return data.leagues.find((league) => !state.suite || league.scheme === state.suite);
}

/** Every width is the least, in rem, and its share of what is left. */
function columnsFor(state) {
  const league = schemeShown(state);
  const tasks = league ? league.tasks : [];
  const columns = [
    {
      key: "rank", title: "Rank", width: [4.6, 0], cell: (entry) => rankCell(entry, state.by),
      compare: (one, other) => inOrderOfRank(one, other, state.by),
    },
    { key: "title", title: "Method", width: [12, 4], value: (entry) => entry.title, cell: titleCell },
    {
      key: "protocol", title: "Protocol", width: [6.2, 1], value: (entry) => entry.protocol,
      cell: (entry) => entry.protocol || UNKNOWN,
    },
    {
      key: "backbone", title: "Backbone", width: [6.5, 2], value: (entry) => leagueOf(entry).backbone,
      settled: isSettled(state.backbone, "base"), ofLeague: true,
    },
    {
      key: "suite", title: "Suite", width: [6.5, 2], value: (entry) => leagueOf(entry).label,
      settled: isSettled(state.suite, "scheme"), ofLeague: true,
    },
    {
      key: "average", title: "Average", width: [10.6, 1], number: (entry) => entry.average,
      cell: averageCell,
    },
    {
      key: "worst_task", title: "Worst task", width: [6.8, 0.5], number: (entry) => entry.worst_task,
      cell: worstCell,
    },
    { key: "gap", title: "Gap", width: [4.5, 0.5], number: (entry) => entry.gap },
    ...tasks.map((task, place) => ({
      key: `task:${task}`, title: task, width: [widthOf(task), 0.5],
      number: (entry) => entry.tasks[place],
    })),
  ];
  return columns.filter((column) => !column.settled);
}

/** A heading breaks between words. */
function widthOf(title) {
  return 2.1 + 0.45 * Math.max(5, ...title.split(/\s+/).map((word) => word.length));
}

/** The columns, which of them the table is sorted by, and whether from the top down. */
function sorting(state) {
  const columns = columnsFor(state);
  const sorted = columns.find((column) => column.key === state.sort) ?? columns[0];
  return { columns, sorted, descending: state.order ? state.order === "down" : startsDescending(sorted) };
}

/** How two entries compare: league by league, since ranks and numbers of two leagues say nothing of each other. */
function comparison(column, descending) {
  const within = comparisonWithin(column, descending);
  if (column.ofLeague) return (one, other) => within(one, other) || one.league - other.league;
  return (one, other) => one.league - other.league || within(one, other);
}

/** How two of a league compare in a column; what is not known comes last either way. */
function comparisonWithin(column, descending) {
  const turn = descending ? -1 : 1;
  if (column.compare) return (one, other) => turn * column.compare(one, other);
  if (column.value) return (one, other) => turn * names.compare(column.value(one), column.value(other));
  return (one, other) => {
    const [first, second] = [column.number(one), column.number(other)];
    if (!first || !second) return Number(!first) - Number(!second);
    return turn * (first.mean - second.mean);
  };
}

/** By rank, in one rank the higher value first, then what has no rank, then references. */
function inOrderOfRank(one, other, by) {
  const place = (entry) => [
    Number(entry.role !== "merged"),
    entry.ranks[by] ?? Infinity,
    entry[by] ? -entry[by].mean : Infinity,
  ];
  const [first, second] = [place(one), place(other)];
  const at = first.findIndex((value, index) => value !== second[index]);
  return at < 0 ? 0 : first[at] < second[at] ? -1 : 1;
}

/** The columns of numbers begin with the highest. */
function startsDescending(column) {
  return Boolean(column.number);
}

function rankCell(entry, by) {
  const rank = entry.ranks[by];
  if (entry.role !== "merged") return element("span", { class: "quiet" }, "ref.");
  if (rank === null) return element("span", { class: "quiet" }, UNKNOWN);
  return element("span", { class: rank === 1 ? "badge first" : "badge" }, String(rank));
}

function titleCell(entry) {
  const about = [entry.settings, count(entry.seeds, "seed"), `n = ${entry.n.toLocaleString("en")}`];
  if (entry.experts) about.push(`experts ${entry.experts}`);
  const link = element("a", { "data-entry": entry.id }, entry.title);
  return [link, element("span", { class: "about" }, about.filter(Boolean).join(" · "))];
}

function averageCell(entry) {
  if (entry.scored[0] < entry.scored[1]) {
    return element("span", { class: "incomplete" }, `incomplete (${entry.scored.join("/")})`);
  }
  const bounds = entry.average && entry.average.documents;
  const shown = [element("b", {}, number(entry.average?.mean)), " "];
  if (bounds) shown.push(element("span", { class: "interval" }, interval(bounds)), bar(entry.average));
  return shown;
}

const reach = Math.max(
  1, ...data.entries.filter((entry) => entry.average).map((entry) => (entry.average.documents ?? [1, 1])[1]),
);

function bar(spread, most = reach) {
  const share = (value) => `${(100 * Math.max(0, value)) / most}%`;
  const made = element("span", { class: "bar", "aria-hidden": "true" });
  made.style.setProperty("--expert", share(1));
  made.style.setProperty("--mean", share(spread.mean));
  made.style.setProperty("--low", share(spread.documents[0]));
  made.style.setProperty("--high", share(spread.documents[1]));
  return made;
}

function worstCell(entry) {
  const shown = [number(entry.worst_task?.mean)];
  if (entry.worst_task) shown.push(" ", element("span", { class: "quiet weakest" }, weakestOf(entry)));
  return shown;
}

/** Which task is the worst: where that differs by seed, the mean of the worst is no one task's. */
function weakestOf(entry) {
  return entry.weakest ?? "differs by seed";
}
