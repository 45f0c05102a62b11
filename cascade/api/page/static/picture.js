// The picture, or the frame of a clip that the answer is about, with boxes and words over it.

import { element, find, styled } from "./dom.js";

// px of the longer side that is drawn; more is not seen on a page
const DRAWN = 1600;
// px of a clip's frames in the service (cascade/video/clip.py, MAX_SIDE): boxes are in pixels of such a frame
const FRAME_SIDE = 1280;
// s between the frame that is shown and the one that the answer is about
const SAME_FRAME = 0.12;
const NOTHING = { size: null, marks: null, video: null, url: null };
let shown = { ...NOTHING };

/** Show a file before it is answered, or say that the browser cannot. */
export async function showFile(file, isClip) {
  clear();
  const own = shown;
  own.marks = element("div", { class: "marks", "aria-hidden": "true" });
  const surface = isClip ? await openClip(file, own) : await openPicture(file, own);
  if (own !== shown) return; // another file came meanwhile
  find("hint").hidden = true;
  find("picture").hidden = false;
  find("picture").replaceChildren(surface ? framed(surface, own) : unseen());
}

/** Take the picture away. */
export function clear() {
  if (shown.url) URL.revokeObjectURL(shown.url);
  shown = { ...NOTHING };
  find("seen").replaceChildren();
  find("marks-switch").hidden = true;
}

async function openPicture(file, own) {
  try {
    // turned as its EXIF says, as the service does
    const bitmap = await createImageBitmap(file);
    const scale = Math.min(1, DRAWN / Math.max(bitmap.width, bitmap.height));
    const canvas = element("canvas", {
      width: Math.max(1, Math.round(bitmap.width * scale)),
      height: Math.max(1, Math.round(bitmap.height * scale)),
      role: "img",
      "aria-label": `The picture ${file.name}`,
    });
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    own.size = [bitmap.width, bitmap.height];
    bitmap.close();
    return canvas;
  } catch {
    return null;
  }
}

function openClip(file, own) {
  const url = URL.createObjectURL(file);
  const video = element("video", {
    muted: true,
    playsinline: true,
    controls: true,
    preload: "auto",
    "aria-label": `The clip ${file.name}`,
  });
  Object.assign(own, { url, video });
  return new Promise((resolve) => {
    video.addEventListener(
      "loadedmetadata",
      () => {
        const { videoWidth: width, videoHeight: height } = video;
        const scale = Math.min(1, FRAME_SIDE / Math.max(width, height));
        own.size = width ? [width * scale, height * scale] : null;
        resolve(width ? video : null);
      },
      { once: true },
    );
    video.addEventListener("error", () => resolve(null), { once: true });
    video.src = url;
  });
}

function framed(surface, { size: [width, height], marks }) {
  return styled(element("div", { class: "frame" }, surface, marks), { "--ratio": width / height });
}

const unseen = () => element("p", { class: "hint" }, "The browser cannot show this file.");

/** Draw what the stages saw; of a clip, move to the frame that stands for it. */
export function showMarks(answer) {
  const stages = answer.stages ?? answer.frame.stages;
  const boxes = items(stages, "boxes"),
    lines = items(stages, "lines");
  const names = [...new Set(boxes.map((box) => box.detector))];
  if (shown.size) {
    shown.marks.replaceChildren(
      ...boxes.map((box) =>
        mark(
          box.corners,
          `${named(box.category)} ${box.score.toFixed(2)}`,
          names.indexOf(box.detector) ? "second" : "first",
          box.score,
          box.matched,
        ),
      ),
      ...lines.map(({ box: [x, y, width, height], text }) => mark([x, y, x + width, y + height], text, "word", 2)),
    );
  }
  thin();
  find("marks-switch").hidden = !shown.size || boxes.length + lines.length === 0;
  find("seen").replaceChildren(...legend(boxes, lines, names));
  if (answer.frame) moveTo(answer.frame_seconds);
}

/** Hide labels that would cover others: words go first, then the surest boxes. */
function thin() {
  const kept = [];
  const marks = [...(shown.marks?.children ?? [])];
  for (const made of marks.sort((one, other) => other.dataset.rank - one.dataset.rank)) {
    const label = made.firstChild.getBoundingClientRect();
    const covers = kept.some(
      (one) => label.left < one.right && label.right > one.left && label.top < one.bottom && label.bottom > one.top,
    );
    made.classList.toggle("unlabelled", covers);
    if (!covers) kept.push(label);
  }
}
new ResizeObserver(thin).observe(find("picture"));

const items = (stages, name) =>
  stages.flatMap((stage) => (Array.isArray(stage.detail[name]) ? stage.detail[name] : []));

function mark([left, top, right, bottom], text, kind, rank, matched = false) {
  const [width, height] = shown.size;
  const share = (value, whole) => `${((100 * Math.min(Math.max(value, 0), whole)) / whole).toFixed(3)}%`;
  const inside = kind === "first" && top < height * 0.06 ? " inside" : "";
  const flipped = left > width * 0.75 ? " flipped" : "";
  const made = element(
    "div",
    { "data-rank": rank, class: `mark ${kind}${matched ? " matched" : ""}${inside}${flipped}` },
    element("span", {}, text),
  );
  return styled(made, {
    left: share(left, width),
    top: share(top, height),
    width: share(right - left, width),
    height: share(bottom - top, height),
  });
}

function legend(boxes, lines, names) {
  const rows = names.map((name, index) => {
    const own = boxes.filter((box) => box.detector === name);
    return row(index ? "second" : "first", name, counted(own));
  });
  if (lines.length)
    rows.push(
      row(
        "word",
        "OCR",
        lines.map((line) => `\u201c${line.text}\u201d`),
      ),
    );
  const pairs = boxes.filter((box) => box.matched).length / 2;
  if (pairs >= 1) rows.push(element("p", { class: "note" }, `Thick: seen by both detectors (${Math.floor(pairs)}).`));
  return rows.length ? [element("h3", {}, "What the stages saw"), ...rows] : [];
}

/** Boxes by class: how many, and the best score. */
function counted(boxes) {
  const scores = Map.groupBy(boxes, (box) => named(box.category));
  return [...scores].map(([name, found]) => {
    const best = Math.max(...found.map((box) => box.score)).toFixed(2);
    return found.length > 1 ? `${found.length} \u00d7 ${name} (best ${best})` : `${name} ${best}`;
  });
}

const named = (category) => category.replaceAll("_", " ");

const row = (kind, name, found) =>
  element(
    "p",
    { class: "found" },
    element("span", { class: `swatch ${kind}` }),
    element("b", {}, name),
    ` ${found.join(", ")}`,
  );

/** Show a moment of the clip. */
export function moveTo(seconds) {
  const { video, marks } = shown;
  if (!video) return;
  const compare = () => {
    marks.classList.toggle("away", Math.abs(video.currentTime - seconds) > SAME_FRAME);
  };
  for (const name of ["timeupdate", "seeked", "play"]) video.addEventListener(name, compare);
  video.currentTime = seconds;
}
