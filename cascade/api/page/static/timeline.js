// The probability over a clip: one point a frame, the pooled line, and the frame that stands for the clip.

import { element, find, percent, shape } from "./dom.js";

const WIDTH = 600,
  HEIGHT = 90;

/** Show the timeline of a clip; without one, nothing. */
export function showTimeline(answer, exits) {
  find("timeline").replaceChildren(...(answer?.timeline ? [chart(answer, exits)] : []));
}

function chart(answer, exits) {
  const { timeline, frames, frame_seconds: chosen } = answer;
  const end = Math.max(answer.seconds, timeline.at(-1).seconds, 0.001);
  const x = (seconds) => ((WIDTH * seconds) / end).toFixed(1);
  const y = (p) => (HEIGHT * (1 - p)).toFixed(1);
  const across = (p, name) => shape("line", { class: name, x1: 0, x2: WIDTH, y1: y(p), y2: y(p) });
  const line = timeline.map((frame) => `${x(frame.seconds)},${y(frame.pooled)}`).join(" ");
  const pooled = timeline.map((one) => one.pooled);
  const range = `${percent(Math.min(...pooled))} to ${percent(Math.max(...pooled))}`;
  const label = `Probability of roadwork over ${end.toFixed(1)} s: from ${range}`;
  return element(
    "figure",
    { class: "chart" },
    shape(
      "svg",
      { viewBox: `0 -4 ${WIDTH} ${HEIGHT + 8}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
      ...(exits ? [across(exits.high, "exit"), across(exits.low, "exit")] : []),
      shape("line", { class: "chosen", x1: x(chosen), x2: x(chosen), y1: 0, y2: HEIGHT }),
      shape("polyline", { class: "pooled", points: line }),
      ...timeline.map((frame) =>
        shape("line", {
          class: "point",
          x1: x(frame.seconds),
          x2: x(frame.seconds),
          y1: y(frame.probability),
          y2: y(frame.probability),
        }),
      ),
    ),
    element(
      "figcaption",
      { class: "note ends" },
      element("span", {}, "0 s"),
      element("span", {}, `${frames.decoded} of ${frames.expected} frames, the answer's at ${chosen.toFixed(1)} s`),
      element("span", {}, `${end.toFixed(1)} s`),
    ),
  );
}
