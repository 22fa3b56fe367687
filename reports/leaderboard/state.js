// What is shown (filters, order, the open entry) is in the address behind the #: so links keep it, and back works.

const USUAL = {
  suite: "", backbone: "", protocol: "", method: "", find: "",
  by: "average", sort: "rank", order: "", references: "shown", entry: "",
};

function readState() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const state = { ...USUAL };
  for (const name of Object.keys(USUAL)) if (asked.has(name)) state[name] = asked.get(name);
  return state;
}

function address(state) {
  const differing = Object.entries(state).filter(([name, value]) => value !== USUAL[name]);
  return `#${new URLSearchParams(differing)}`;
}

/** Change what is shown: a step that "back" undoes, or, while somebody types, in place of the last one. */
function go(changes, { inPlace = false } = {}) {
  const next = address({ ...stateShown(), ...changes });
  if (next === (location.hash || "#")) return;
  if (inPlace) location.replace(next);
  else location.hash = next;
  show();
}
