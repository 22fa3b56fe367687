// Elements and numbers. What comes from the data becomes text, never markup.

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** A box for what may be wider than the screen; the keyboard's arrows scroll it. */
function scroller(label, ...children) {
  return element("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": label }, ...children);
}

const UNKNOWN = "–";

function number(value, signed = false) {
  if (value === null || value === undefined) return UNKNOWN;
  const text = Math.abs(value).toFixed(3);
  const sign = Number(text) === 0 ? "" : value < 0 ? "−" : signed ? "+" : "";
  return sign + text;
}

function interval(bounds, signed = false) {
  return bounds ? `[${number(bounds[0], signed)}, ${number(bounds[1], signed)}]` : "";
}

function count(many, what) {
  return `${many.toLocaleString("en")} ${what}${many === 1 ? "" : "s"}`;
}
