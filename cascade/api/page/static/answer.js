// The answer: label, probability between its exits, and the path through the cascade.

import { capital, element, find, milliseconds, percent, plain, styled } from "./dom.js";

const LABELS = { roadwork: "Roadwork", clear: "No roadwork" };
const SKIPPED = {
  off: "off",
  missing: "not installed",
  failed: "failed",
  memory: "no memory free",
  timeout: "out of time",
  busy: "busy",
  deadline: "out of time",
  malformed: "no yes or no",
};

/** Show an answer for a picture or a clip; `about` is of /v1/release. */
export function showAnswer(answer, elapsed, about) {
  const stages = answer.stages ?? [...answer.frame.stages, ...(answer.clip_result ? [answer.clip_result] : [])];
  const exits = exitsOf(stages, answer.decided_by) ?? about.thresholds;
  // later stages see only what those before them left undecided
  const rest = answer.stages ? about.stages.slice(stages.length) : [];
  find("result").replaceChildren(
    element("p", { class: `label ${answer.label}` }, LABELS[answer.label] ?? answer.label),
    element("p", { class: "p" }, element("strong", {}, percent(answer.probability)), " probability of roadwork"),
    bar(answer.probability, exits),
    element("p", { class: "reason" }, capital(answer.reason)),
    element("p", { class: "note" }, timing(answer, elapsed)),
    ...notes(answer).map((note) => element("p", { class: "notice" }, note)),
    element(
      "h3",
      {},
      answer.frame ? `Path of the frame at ${answer.frame_seconds.toFixed(1)} s` : "Path through the cascade",
    ),
    path(stages, answer, rest),
  );
  find("announcement").textContent =
    `${LABELS[answer.label] ?? answer.label}, probability ${percent(answer.probability)}, ` +
    `decided by ${plain(answer.decided_by)} in ${milliseconds(answer.milliseconds)}.`;
}

/** Before the first answer: the stages of the release, as they will be asked. */
export function showStages(stages, thresholds) {
  find("result").replaceChildren(
    element("p", { class: "lead" }, "Is there roadwork in the picture?"),
    element(
      "p",
      { class: "note" },
      "Stages answer in turn, the cheapest first. A picture leaves as soon as one is sure:",
    ),
    bar(null, thresholds),
    element("h3", {}, "Path through the cascade"),
    element(
      "ol",
      { class: "path" },
      stages.map((stage) =>
        element(
          "li",
          { class: stage.on ? "" : "skipped" },
          element("span", { class: "stage" }, capital(plain(stage.name))),
          element(
            "span",
            { class: "what" },
            stage.on ? [stage.engine, stage.precision].filter(Boolean).join(" ") : "off",
          ),
        ),
      ),
    ),
  );
}

/** A probability on its scale from 0 to 1, with the exits of the cascade; `p` null: the scale alone. */
export function bar(p, exits, small = false) {
  const track = element("div", { class: `bar${small ? " small" : ""}`, "aria-hidden": small ? "true" : undefined });
  if (exits) {
    styled(track, { "--low": exits.low, "--high": exits.high });
    track.classList.add("exits");
  }
  if (p !== null) {
    track.append(styled(element("span", { class: "mark" }), { "--p": p }));
    const words = exits
      ? `${percent(p)}; clear up to ${percent(exits.low)}, roadwork from ${percent(exits.high)}`
      : percent(p);
    const facts = { role: "meter", "aria-label": "Probability of roadwork", "aria-valuemin": 0, "aria-valuemax": 1 };
    for (const [name, value] of Object.entries({ ...facts, "aria-valuenow": p, "aria-valuetext": words })) {
      if (!small) track.setAttribute(name, value);
    }
  }
  if (small || !exits) return track;
  return element(
    "div",
    { class: "scale" },
    track,
    element(
      "div",
      { class: "ends" },
      element("span", {}, `clear up to ${percent(exits.low)}`),
      element("span", {}, `roadwork from ${percent(exits.high)}`),
    ),
  );
}

function path(stages, { decided_by: decidedBy, reason }, rest) {
  return element(
    "ol",
    { class: "path" },
    stages.map((stage) => {
      const leaves = stage.stage === decidedBy;
      return element(
        "li",
        { class: stage.skipped ? "skipped" : leaves ? `leaves ${stage.verdict}` : "" },
        element("span", { class: "stage" }, capital(plain(stage.stage))),
        element(
          "span",
          { class: "what" },
          stage.skipped ? (SKIPPED[stage.skipped] ?? stage.skipped) : outcome(stage, leaves),
        ),
        stage.probability === null ? null : bar(stage.probability, stage.exits, true),
        stage.skipped === "off" ? null : element("span", { class: "time" }, milliseconds(stage.milliseconds)),
        stage.detail.summary && stage.detail.summary !== reason
          ? element("span", { class: "detail" }, capital(stage.detail.summary))
          : null,
      );
    }),
    rest.map((stage) => unreached(stage.name, stage.on ? "not needed" : "off")),
  );
}

function unreached(name, why) {
  return element(
    "li",
    { class: "skipped" },
    element("span", { class: "stage" }, capital(plain(name))),
    element("span", { class: "what" }, why),
  );
}

function outcome(stage, leaves) {
  const words = stage.probability === null ? [] : [percent(stage.probability)];
  if (stage.verdict !== "undecided") words.push(stage.verdict);
  else words.push(leaves ? "best estimate" : stage.probability === null ? "no estimate" : "not sure");
  return words.join(", ");
}

function timing(answer, elapsed) {
  const ours = `${milliseconds(answer.milliseconds)} in the cascade`;
  return answer.cached
    ? `From the cache in ${milliseconds(elapsed)}; the times below are those of the first answer.`
    : `Decided by ${plain(answer.decided_by)}: ${ours}, ${milliseconds(elapsed)} with the upload.`;
}

function notes(answer) {
  const partial =
    answer.frames && !answer.complete ? ["Less than half of the clip could be read: the rest may show anything."] : [];
  return [...partial, ...(answer.notes ?? answer.frame.notes)].map(capital);
}

/** The exits of the stage that decided, or else of the first that has some. */
function exitsOf(stages, decidedBy) {
  const having = stages.filter((stage) => stage.exits);
  return (having.find((stage) => stage.stage === decidedBy) ?? having[0])?.exits;
}
