// One report of the gate: what the challenger and the champion reached, and whether the difference is one.

import { element, figure, moment, styled } from "./dom.js";

export const MEASURES = {
  mcc: "MCC",
  accuracy: "Accuracy",
  recall: "Recall",
  precision: "Precision",
  reward: "Expected reward",
};
const VERDICTS = {
  better: "The challenger is better",
  no_worse: "The challenger is no worse",
  worse: "The challenger is worse",
  inconclusive: "The comparison is inconclusive",
  first: "The first release: there was nothing to compare with",
};

/** A report as an element; `release` is the one that is live. */
export function showGate(gate, release) {
  const sides = [["challenger", gate.challenger], ...(gate.champion ? [["champion", gate.champion]] : [])];
  return element(
    "div",
    { class: "report" },
    element(
      "p",
      { class: `verdict ${gate.passes ? "passes" : "fails"}` },
      element("strong", {}, VERDICTS[gate.verdict] ?? gate.verdict),
      gate.passes ? ", and was let in." : ", and was refused.",
    ),
    element(
      "p",
      { class: "note" },
      ...sides.flatMap(([side, id], index) => [
        index ? ", " : "",
        `${side} `,
        element("code", {}, id),
        id === release ? " (live)" : "",
      ]),
      "; ",
      moment(gate.when),
      gate.views ? `; ${gate.views} views of ${gate.places} places` : "",
    ),
    gate.failures.length
      ? element(
          "p",
          { class: "notice" },
          `Limits that were not kept: ${gate.failures.join(", ").replaceAll("_", " ")}.`,
        )
      : null,
    gate.comparisons.length ? measures(gate.comparisons) : null,
  );
}

function measures(comparisons) {
  const span = Math.max(
    ...comparisons.flatMap(({ difference, margin }) =>
      [difference.value, difference.low, difference.high, margin].map((one) => Math.abs(one ?? 0)),
    ),
    1e-9,
  );
  const head = ["", "Challenger", "Champion", "Difference"].map((name) => element("th", { scope: "col" }, name));
  return element(
    "div",
    { class: "wide" },
    element(
      "table",
      { class: "figures" },
      element("thead", {}, element("tr", {}, head)),
      element(
        "tbody",
        {},
        comparisons.map((one) =>
          element(
            "tr",
            {},
            element("th", { scope: "row" }, MEASURES[one.name] ?? one.name),
            element("td", {}, figure(one.challenger.value)),
            element("td", {}, figure(one.champion.value)),
            element("td", { class: sign(one.difference) }, difference(one.difference), whisker(one, span)),
          ),
        ),
      ),
    ),
  );
}

function difference({ value, low, high }) {
  if (value === null) return "not defined";
  if (low === null || high === null) return figure(value, true);
  return [
    `${figure(value, true)} `,
    element("span", { class: "range" }, `(${figure(low, true)} to ${figure(high, true)})`),
  ];
}

/** The interval of a difference on a line whose middle is 0. */
function whisker({ difference: { value, low, high } }, span) {
  if (value === null || low === null || high === null) return null;
  const at = (number) => 0.5 + number / span / 2;
  return styled(element("span", { class: "whisker", "aria-hidden": "true" }), {
    "--low": at(low),
    "--high": at(high),
    "--p": at(value),
  });
}

function sign({ low, high }) {
  if (low !== null && low > 0) return "gain";
  return high !== null && high < 0 ? "loss" : "";
}
