"use strict";
document.documentElement.classList.add("js");

// One tooltip for all marks. The title of a mark moves into it when it is first pointed at, so that the browser's own,
// slower one stays away; there may be tens of thousands of marks, so nothing is done to them before.
const tip = Object.assign(document.createElement("div"), { className: "tip", hidden: true });
document.body.append(tip);
let lit = null;
function leave() {
  tip.hidden = true;
  if (lit) delete lit.dataset.lit;
  lit = null;
}
document.addEventListener("pointermove", (event) => {
  const mark = event.target.closest("svg rect");
  if (mark !== lit) leave();
  const title = mark && mark.querySelector("title");
  if (title) {
    mark.dataset.tip = title.textContent;
    title.remove();
  }
  if (!mark || !mark.dataset.tip) return;
  lit = mark;
  lit.dataset.lit = "";
  tip.textContent = mark.dataset.tip;
  tip.hidden = false;
  tip.style.left = `${Math.min(event.clientX + 16, innerWidth - tip.offsetWidth - 8)}px`;
  tip.style.top = `${Math.min(event.clientY + 16, innerHeight - tip.offsetHeight - 8)}px`;
});
document.documentElement.addEventListener("pointerleave", leave);
