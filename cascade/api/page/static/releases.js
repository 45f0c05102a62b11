// The live release, its comparisons by the gate, and what was live before.

import { capital, element, figure, find, moment, plain } from "./dom.js";
import { MEASURES, showGate } from "./gate.js";

/** Show the panel; `about` is of /v1/release, `history` of /v1/releases. */
export function showReleases(about, history) {
  find("release-panel").replaceChildren(
    element(
      "div",
      { class: "columns even" },
      element("div", {}, live(about, history.figures)),
      element("div", {}, comparisons(history)),
    ),
    ...(history.changes.length ? [changes(history)] : []),
  );
}

function live(about, figures) {
  return [
    element("h3", {}, "Live: ", element("code", {}, about.release)),
    facts(
      "Stages",
      about.stages.map((stage) => [
        capital(plain(stage.name)),
        stage.on ? runs(stage) : "off",
        stage.on ? null : stage.why,
      ]),
    ),
    facts(
      "Validation",
      Object.entries(figures).map(([name, one]) => [MEASURES[name] ?? name, interval(one), null]),
    ),
  ];
}

const runs = (stage) => [stage.engine, stage.device, stage.precision].filter(Boolean).join(" ") || "on";

/** A table of names and values; a third entry is a reason, which is opened on demand. */
function facts(title, rows) {
  if (!rows.length) return null;
  return element(
    "table",
    { class: "facts" },
    element("caption", {}, title),
    element(
      "tbody",
      {},
      rows.map(([name, value, why]) =>
        element(
          "tr",
          {},
          element("th", { scope: "row" }, name),
          element(
            "td",
            {},
            why ? element("details", {}, element("summary", {}, value), element("p", { class: "note" }, why)) : value,
          ),
        ),
      ),
    ),
  );
}

function comparisons({ release, gates }) {
  const head = element("h3", {}, "Champion against challenger");
  if (!gates.length) {
    return [head, element("p", { class: "note" }, "This service has no report of the gate about its release.")];
  }
  const [last, ...older] = gates;
  const rest = older.map((gate) =>
    element(
      "details",
      {},
      element(
        "summary",
        {},
        `${gate.challenger} against ${gate.champion ?? "nothing"}: ${gate.verdict.replace("_", " ")}`,
      ),
      showGate(gate, release),
    ),
  );
  return [head, showGate(last, release), ...rest];
}

function interval({ value, low, high }) {
  return low === null || high === null ? figure(value) : `${figure(value)} (${figure(low)} to ${figure(high)})`;
}

function changes(history) {
  return element(
    "div",
    { class: "wide" },
    element(
      "table",
      { class: "short" },
      element("caption", {}, "What went live"),
      element(
        "tbody",
        {},
        history.changes.map((one) =>
          element(
            "tr",
            {},
            element("th", { scope: "row" }, moment(one.when)),
            element(
              "td",
              {},
              one.action === "rollback" ? "back to " : "",
              element("code", {}, one.release),
              one.release === history.release ? " (live)" : "",
            ),
            element("td", {}, ...(one.previous ? ["instead of ", element("code", {}, one.previous)] : ["the first"])),
          ),
        ),
      ),
    ),
  );
}
