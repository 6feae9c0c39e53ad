// The runs of a folder; those that appear later appear.
import { get } from "./stream.js";

const list = document.getElementById("runs"), said = document.getElementById("said");
let before = "";

function line(run) {
  const item = document.createElement("li"), link = document.createElement("a"), words = document.createElement("span");
  link.href = `runs/${encodeURIComponent(run.name)}/${location.hash}`;
  link.textContent = run.name;
  const when = run.updated_at ? new Date(1000 * run.updated_at).toLocaleString() : "";
  words.textContent = [run.status, run.data, run.task, run.strategy, when, run.error].filter(Boolean).join(" · ");
  words.className = "quiet";
  item.append(link, words);
  return item;
}

async function show() {
  try {
    const { found } = await get("api/runs");
    const now = JSON.stringify(found.runs);
    said.textContent = found.runs.length ? "" : "There is no run here yet; it appears when it begins.";
    if (now !== before) list.replaceChildren(...found.runs.map(line));
    before = now;
  } catch (error) {
    said.textContent = error.message;
  }
  setTimeout(show, document.hidden ? 10000 : 2000);
}
show();
