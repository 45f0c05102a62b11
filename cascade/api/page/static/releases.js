// The live release, champion against challenger as the gate compared them, and what was live before.

import { capital, element, figure, find, moment, plain, styled } from "./dom.js";

const MEASURES = { mcc: "MCC", accuracy: "Accuracy", recall: "Recall", precision: "Precision", reward: "Expected reward" };
const VERDICTS = {
  better: "The challenger is better",
  no_worse: "The challenger is no worse",
  worse: "The challenger is worse",
  inconclusive: "The comparison is inconclusive",
  first: "The first release: there was nothing to compare with",
};

/** Show the panel; `about` is of /v1/release, `history` of /v1/releases. */
export function showReleases(about, history) {
  find("release-panel").replaceChildren(
    element("div", { class: "columns even" },
      element("div", {}, live(about, history.figures)),
      element("div", {}, comparisons(history))),
    ...(history.changes.length ? [changes(history)] : []),
  );
}

function live(about, figures) {
  return [
    element("h3", {}, "Live: ", element("code", {}, about.release)),
    facts("Stages", about.stages.map((stage) => [capital(plain(stage.name)), stage.on ? runs(stage) : "off", stage.on ? null : stage.why])),
    facts("Validation", Object.entries(figures).map(([name, one]) => [MEASURES[name] ?? name, interval(one), null])),
  ];
}

const runs = (stage) => [stage.engine, stage.device, stage.precision].filter(Boolean).join(" ") || "on";

/** A table of names and values; a third entry is a reason, which is opened on demand. */
function facts(title, rows) {
  if (!rows.length) return null;
  return element("table", {}, element("caption", {}, title), element("tbody", {}, rows.map(([name, value, why]) =>
    element("tr", {}, element("th", { scope: "row" }, name), element("td", {},
      why ? element("details", {}, element("summary", {}, value), element("p", { class: "note" }, why)) : value)))));
}

function comparisons({ release, gates }) {
  const head = element("h3", {}, "Champion against challenger");
  if (!gates.length) {
    return [head, element("p", { class: "note" }, "This service has no report of the gate: the release was not promoted on this machine.")];
  }
  const [last, ...older] = gates;
  const rest = older.map((gate) => element("details", {},
    element("summary", {}, `${gate.challenger} against ${gate.champion ?? "nothing"}: ${gate.verdict.replace("_", " ")}`),
    report(gate, release)));
  return [head, report(last, release), ...rest];
}

function report(gate, release) {
  const sides = [["challenger", gate.challenger], ...(gate.champion ? [["champion", gate.champion]] : [])];
  return element("div", { class: "report" },
    element("p", { class: `verdict ${gate.passes ? "passes" : "fails"}` },
      element("strong", {}, VERDICTS[gate.verdict] ?? gate.verdict), gate.passes ? ", and was let in." : ", and was refused."),
    element("p", { class: "note" },
      ...sides.flatMap(([side, id], index) => [index ? ", " : "", `${side} `, element("code", {}, id), id === release ? " (live)" : ""]),
      "; ", moment(gate.when), gate.views ? `; ${gate.views} views of ${gate.places} places` : ""),
    gate.failures.length ? element("p", { class: "notice" }, `Limits that were not kept: ${gate.failures.join(", ").replaceAll("_", " ")}.`) : null,
    gate.comparisons.length ? measures(gate.comparisons) : null,
  );
}

function measures(comparisons) {
  const span = Math.max(...comparisons.flatMap(({ difference, margin }) =>
    [difference.value, difference.low, difference.high, margin].map((one) => Math.abs(one ?? 0))), 1e-9);
  const head = ["", "Challenger", "Champion", "Difference"].map((name) => element("th", { scope: "col" }, name));
  return element("div", { class: "wide" }, element("table", { class: "figures" },
    element("thead", {}, element("tr", {}, head)),
    element("tbody", {}, comparisons.map((one) => element("tr", {},
      element("th", { scope: "row" }, MEASURES[one.name] ?? one.name),
      element("td", {}, figure(one.challenger.value)),
      element("td", {}, figure(one.champion.value)),
      element("td", { class: sign(one.difference) }, difference(one.difference), whisker(one, span)))))));
}

function difference({ value, low, high }) {
  if (value === null) return "not defined";
  if (low === null || high === null) return figure(value, true);
  return [`${figure(value, true)} `, element("span", { class: "range" }, `(${figure(low, true)} to ${figure(high, true)})`)];
}

/** The interval of a difference on a line whose middle is 0. */
function whisker({ difference: { value, low, high } }, span) {
  if (value === null || low === null || high === null) return null;
  const at = (number) => 0.5 + number / span / 2;
  return styled(element("span", { class: "whisker", "aria-hidden": "true" }), { "--low": at(low), "--high": at(high), "--p": at(value) });
}

function sign({ low, high }) {
  if (low !== null && low > 0) return "gain";
  return high !== null && high < 0 ? "loss" : "";
}

function interval({ value, low, high }) {
  return low === null || high === null ? figure(value) : `${figure(value)} (${figure(low)} to ${figure(high)})`;
}

function changes(history) {
  return element("div", { class: "wide" }, element("table", { class: "short" }, element("caption", {}, "What went live"),
    element("tbody", {}, history.changes.map((one) => element("tr", {},
      element("th", { scope: "row" }, moment(one.when)),
      element("td", {}, one.action === "rollback" ? "back to " : "", element("code", {}, one.release),
        one.release === history.release ? " (live)" : ""),
      element("td", {}, ...(one.previous ? ["instead of ", element("code", {}, one.previous)] : ["the first"])))))));
}
