// Elements, and figures as people read them. Text is only ever inserted as text.

/** Make an element; `attributes` are set as such, children may be strings. */
export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for a shape of SVG. */
export function shape(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

/** Set properties of an element's style; the policy of the page allows no style attributes. */
export function styled(made, properties) {
  for (const [name, value] of Object.entries(properties)) made.style.setProperty(name, value);
  return made;
}

/** The element with an id. */
export const find = (id) => document.getElementById(id);

/** A probability; one that is not 0 or 1 never looks like it. */
export function percent(p) {
  if (p > 0 && p < 0.001) return "<\u00a00.1\u00a0%";
  if (p < 1 && p > 0.999) return ">\u00a099.9\u00a0%";
  return `${Number((p * 100).toFixed(1))}\u00a0%`;
}

/** Milliseconds, with a decimal where there are few. */
export function milliseconds(value) {
  return value < 10 ? `${value.toFixed(1)}\u00a0ms` : `${Math.round(value).toLocaleString("en")}\u00a0ms`;
}

/** A figure with three decimals and a true minus; `signed` puts a plus before it. */
export function figure(value, signed = false) {
  if (value === null || value === undefined) return "not defined";
  const text = Math.abs(value).toFixed(3);
  return value < 0 ? `\u2212${text}` : `${signed ? "+" : ""}${text}`;
}

/** A time in UTC as a `time` element. */
export function moment(iso) {
  const when = new Date(iso);
  if (Number.isNaN(when.getTime())) return iso;
  const words = when.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short", timeZone: "UTC" });
  return element("time", { datetime: when.toISOString() }, `${words} UTC`);
}

/** What a stage is called in a sentence. */
export const plain = (stage) => ({ vlm: "VLM", ocr: "OCR" })[stage] ?? stage;

/** A sentence with a capital letter at its beginning; it may begin with the name of a stage. */
export function capital(text) {
  const [first] = text.split(/\b/, 1);
  const word = plain(first);
  return word.charAt(0).toUpperCase() + word.slice(1) + text.slice(first.length);
}
