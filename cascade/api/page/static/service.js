// Requests to the service: the key, the time limit, and its errors in plain words.

const KEY = "streetvision-key";
// the service answers within 9 s of the whole request; the rest is for a slow upload
const SECONDS = 60;

/** An answer that is none: `status` 0 means that nothing came back. */
export class ServiceError extends Error {
  constructor(status, reason, message, { retryAfter = null, id = null } = {}) {
    super(message);
    Object.assign(this, { status, reason, retryAfter, id });
  }
}

/** The key of this tab; empty where there is none. */
export const key = () => sessionStorage.getItem(KEY) ?? "";

export function rememberKey(text) {
  sessionStorage.setItem(KEY, text);
}

export function forgetKey() {
  sessionStorage.removeItem(KEY);
}

/** What `/readyz` says; it needs no key. */
export async function readiness() {
  const response = await send("readyz");
  return (await body(response)) ?? {};
}

export const release = () => asked("v1/release");
export const releases = () => asked("v1/releases");

/** Ask about a picture or a clip; `signal` gives it up. */
export async function predict(file, isClip, signal) {
  const form = new FormData();
  form.append("files", file, file.name || "picture");
  const start = performance.now();
  const answer = await asked(isClip ? "v1/clip" : "v1/predict", { method: "POST", body: form }, signal);
  return { answer, elapsed: performance.now() - start };
}

async function asked(path, options = {}, signal) {
  const response = await send(path, options, signal);
  const document = await body(response);
  if (response.ok && document !== null) return document;
  const { reason = "", message = "" } = document?.error ?? {};
  throw new ServiceError(response.status, reason, message, {
    retryAfter: seconds(response.headers.get("Retry-After")),
    id: response.headers.get("X-Request-Id"),
  });
}

async function send(path, options = {}, signal) {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), SECONDS * 1000);
  signal?.addEventListener("abort", () => limit.abort());
  // fetch refuses a header beyond Latin-1; keys beyond ASCII travel as UTF-8
  const headers = key() ? { Authorization: `Bearer ${bytes(key())}` } : {};
  try {
    return await fetch(path, { ...options, headers, signal: limit.signal, credentials: "omit", redirect: "error" });
  } catch {
    if (signal?.aborted) throw new ServiceError(0, "given_up", "");
    throw new ServiceError(0, limit.signal.aborted ? "timeout" : "unreachable", "");
  } finally {
    clearTimeout(timer);
  }
}

const bytes = (text) => String.fromCharCode(...new TextEncoder().encode(text));

/** The JSON of a response; null where it is none, as from a proxy. */
async function body(response) {
  try {
    return await response.json();
  } catch {
    return null;
  }
}

/** Seconds of a Retry-After header, which is a number or a date. */
function seconds(header) {
  if (!header) return null;
  const number = Number(header);
  const wait = Number.isFinite(number) ? number : (Date.parse(header) - Date.now()) / 1000;
  return Number.isFinite(wait) ? Math.max(0, Math.ceil(wait)) : null;
}

const BUSY = {
  not_ready: "The service is still starting",
  busy: "The service is busy",
  deadline: "The answer took too long",
  no_answer: "No stage of the cascade came to an answer",
};
const STATUS = {
  400: "The service could not read the request",
  413: "The file is too large for this service",
  415: "This file is neither a picture nor a clip that the service can read",
  422: "The file is damaged, animated or too small",
  429: "The limit of this key is reached",
};

/** A title, and a sentence of the service where it gave one. */
export function explain(error) {
  if (!(error instanceof ServiceError)) return { title: "The page itself failed", text: String(error) };
  if (error.reason === "timeout") return { title: `No answer within ${SECONDS} s`, text: "Is the connection slow?" };
  if (error.status === 0) return { title: "The service cannot be reached", text: "Is it running?" };
  const known =
    error.status === 503 ? (BUSY[error.reason] ?? "The service cannot answer at this moment") : STATUS[error.status];
  return { title: known ?? `The service failed (${error.status})`, text: error.message };
}

/** Whether the same request may be answered later. */
export const mayRetry = (error) =>
  !(error instanceof ServiceError) || error.status === 0 || error.status === 429 || error.status >= 500;
