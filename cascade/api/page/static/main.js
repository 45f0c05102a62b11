// The page: which part is open, and the way of a file from the visitor to its answer.

import { showAnswer, showStages } from "./answer.js";
import { capital, element, find } from "./dom.js";
import { isClip, listen } from "./files.js";
import { clear, showFile, showMarks } from "./picture.js";
import { showReleases } from "./releases.js";
import {
  ServiceError,
  explain,
  forgetKey,
  key,
  mayRetry,
  predict,
  readiness,
  release,
  releases,
  rememberKey,
} from "./service.js";
import { showTimeline } from "./timeline.js";

const LOADING_SECONDS = 2;
let about = null; // of /v1/release
let waiting = null; // a file that was refused for its key
let running = new AbortController();

/** Say what the service is, and open the page; a service that wants a key is asked again with one. */
async function start() {
  try {
    about = await release();
  } catch (error) {
    if (error.status === 401) return lock();
    find("open").hidden = false;
    return fail(error, start);
  }
  find("locked").hidden = true;
  find("open").hidden = false;
  find("forget").hidden = !key();
  find("error").replaceChildren();
  await showStatus();
  showStages(about.stages, about.thresholds);
  await showHistory();
  if (waiting) return take(waiting);
}

/** Ask for the key; what the page shows of the service is taken away. */
function lock() {
  find("key-error").textContent = key() ? "The service does not know this key." : "";
  forgetKey();
  about = null;
  find("open").hidden = true;
  find("forget").hidden = true;
  find("locked").hidden = false;
  find("release-panel").replaceChildren();
  find("status").textContent = "";
  find("key").focus();
}

async function showStatus() {
  const { status } = await readiness().catch(() => ({}));
  const word = status ?? "away";
  find("status").replaceChildren(
    element("span", { class: `dot ${word}`, "aria-hidden": "true" }),
    `${word}, release `,
    element("code", {}, about.release),
  );
  if (word === "loading") setTimeout(() => about && showStatus(), LOADING_SECONDS * 1000);
}

async function showHistory() {
  try {
    showReleases(about, await releases());
  } catch (error) {
    find("release-panel").replaceChildren(element("p", { class: "note" }, explain(error).title));
  }
}

/** Show a file, ask about it, and show the answer; one that still runs is given up. */
async function take(file) {
  running.abort();
  const { signal } = (running = new AbortController());
  const clip = isClip(file);
  waiting = null;
  find("error").replaceChildren();
  find("file-name").textContent = file.name;
  find("result").replaceChildren(
    element("p", { class: "lead busy" }, clip ? "Looking at the clip\u2026" : "Looking at the picture\u2026"),
  );
  find("announcement").textContent = "";
  find("answer").setAttribute("aria-busy", "true");
  showTimeline(null);
  const seen = showFile(file, clip);
  try {
    const { answer, elapsed } = await predict(file, clip, signal);
    await seen;
    if (signal.aborted) return;
    const one = clip ? answer : answer.results[0];
    showAnswer(one, elapsed, about);
    showMarks(one);
    showTimeline(one, about.thresholds);
    if (one.release !== about.release) await refresh();
  } catch (error) {
    if (error.reason !== "given_up") refuse(error, file);
  } finally {
    if (!signal.aborted) find("answer").removeAttribute("aria-busy");
  }
}

/** The release was changed since the page was opened. */
async function refresh() {
  about = await release();
  await Promise.all([showStatus(), showHistory()]);
}

function refuse(error, file) {
  find("result").replaceChildren();
  if (error.status === 401) {
    waiting = file;
    return lock();
  }
  fail(error, () => take(file));
}

/** Say what went wrong, with a button where it may go well later. */
function fail(error, again) {
  const { title, text } = explain(error);
  find("error").replaceChildren(
    element("p", { class: "lead error" }, title),
    ...(text ? [element("p", {}, capital(text))] : []),
    ...(mayRetry(error) ? [retry(again, error.retryAfter ?? 0)] : []),
    ...(error instanceof ServiceError && error.id
      ? [element("p", { class: "note" }, "Request id ", element("code", {}, error.id))]
      : []),
  );
}

function retry(again, seconds) {
  const button = element("button", { type: "button" }, "Try again");
  button.addEventListener("click", () => {
    find("error").replaceChildren();
    again();
  });
  const end = Date.now() + seconds * 1000;
  const count = () => {
    const left = Math.ceil((end - Date.now()) / 1000);
    button.disabled = left > 0;
    button.textContent = left > 0 ? `Try again in ${left} s` : "Try again";
    if (left > 0) setTimeout(count, 250);
  };
  count();
  return element("p", {}, button);
}

find("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  rememberKey(find("key").value.trim());
  find("key").value = "";
  start();
});
find("forget").addEventListener("click", () => {
  running.abort();
  forgetKey();
  waiting = null;
  clear();
  location.reload();
});
find("marks").addEventListener("change", (event) => find("board").classList.toggle("bare", !event.target.checked));
listen(take, () => about !== null);
start();
