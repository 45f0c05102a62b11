// How a file comes in: chosen, taken with the camera, dropped anywhere on the page, or pasted.

import { find } from "./dom.js";

// browsers do not know the type of some containers
const CLIPS = /\.(mp4|m4v|mov|mkv|webm|avi|ts|mts|m2ts|mpe?g|3gp|ogv|wmv|flv)$/i;

/** Whether a file goes to the route for clips. */
export function isClip(file) {
  return file.type ? file.type.startsWith("video/") : CLIPS.test(file.name ?? "");
}

/** Call `take` with each file that comes in; `isOpen` says whether files are taken now. */
export function listen(take, isOpen) {
  for (const id of ["file", "camera"]) {
    const input = find(id);
    input.addEventListener("change", () => {
      const [file] = input.files;
      if (file) take(file);
      // the same file may be chosen again; the object stays valid
      input.value = "";
    });
  }
  document.addEventListener("paste", (event) => {
    if (isOpen()) accept(event, event.clipboardData, take);
  });
  listenToDrops(take, isOpen);
}

function listenToDrops(take, isOpen) {
  const board = find("board");
  let depth = 0; // dragenter and dragleave come for every element on the way
  const light = (change) => {
    depth = change === 0 ? 0 : Math.max(0, depth + change);
    board.classList.toggle("over", depth > 0 && isOpen());
  };
  document.addEventListener("dragenter", () => light(1));
  document.addEventListener("dragleave", () => light(-1));
  // without this the browser would open the file in place of the page
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    light(0);
    if (isOpen()) accept(event, event.dataTransfer, take);
  });
}

function accept(event, transfer, take) {
  const [file] = transfer?.files ?? [];
  if (!file) return;
  event.preventDefault();
  take(file);
}
