"use strict";
document.documentElement.classList.add("js");

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      // Pages opened from a file may not be given the clipboard: select the text instead.
      getSelection().selectAllChildren(source);
      button.textContent = "Selected: press Ctrl+C";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1800);
  });
}

// One tooltip for all charts; a candidate lights up in every panel.
const tip = Object.assign(document.createElement("div"), { className: "tip", hidden: true });
document.body.append(tip);
for (const title of document.querySelectorAll(".chart title")) {
  title.parentNode.dataset.tip = title.textContent;
  title.remove();
}
function hideTip() {
  tip.hidden = true;
  for (const mark of document.querySelectorAll(".lit")) mark.classList.remove("lit");
}
function nearest(chart, x, y) {
  let best = null, closest = 22;
  for (const mark of chart.querySelectorAll("[data-tip]")) {
    const box = mark.getBoundingClientRect();
    const distance = Math.hypot(box.x + box.width / 2 - x, box.y + box.height / 2 - y);
    if (distance < closest) [best, closest] = [mark, distance];
  }
  return best;
}
for (const chart of document.querySelectorAll(".chart")) {
  chart.addEventListener("pointermove", (event) => {
    hideTip();
    const mark = nearest(chart, event.clientX, event.clientY);
    if (!mark) return;
    if (mark.dataset.key) {
      for (const same of document.querySelectorAll(`[data-key="${mark.dataset.key}"]`)) same.classList.add("lit");
    }
    tip.textContent = mark.dataset.tip;
    tip.hidden = false;
    const x = Math.min(event.clientX + 16, innerWidth - tip.offsetWidth - 8);
    const y = Math.min(event.clientY + 16, innerHeight - tip.offsetHeight - 8);
    tip.style.left = `${x}px`;
    tip.style.top = `${y}px`;
  });
  chart.addEventListener("pointerleave", hideTip);
}

for (const film of document.querySelectorAll("[data-film]")) {
  const slider = film.querySelector("[data-slider]"), play = film.querySelector("[data-play]");
  const frames = [...film.querySelectorAll("[data-frame]")], strip = film.querySelector("[data-strip]");
  const parts = film.querySelectorAll("[data-part]"), caption = film.querySelector("[data-caption]");
  let timer = null;
  function show(number) {
    const frame = frames[number], shown = new Set(), cut = new Set();
    for (const use of frame.querySelectorAll("use")) {
      (use.classList.contains("cut") ? cut : shown).add(use.getAttribute("href").slice(1));
    }
    for (const part of parts) {
      part.classList.toggle("gone", !shown.has(part.id) && !cut.has(part.id));
      part.classList.toggle("cut", cut.has(part.id));
    }
    caption.innerHTML = frame.querySelector(".full").innerHTML;
    slider.value = number;
    for (const other of frames) other.removeAttribute("aria-current");
    frame.setAttribute("aria-current", "step");
    // Not scrollIntoView: that would move the page too.
    strip.scrollLeft = frame.offsetLeft - strip.offsetLeft - (strip.clientWidth - frame.offsetWidth) / 2;
  }
  function stop() {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  }
  play.addEventListener("click", () => {
    if (timer) { stop(); return; }
    if (Number(slider.value) === frames.length - 1) show(0);
    play.textContent = "Pause";
    timer = setInterval(() => {
      const next = Number(slider.value) + 1;
      if (next >= frames.length) stop(); else show(next);
    }, 1300);
  });
  slider.addEventListener("input", () => { stop(); show(Number(slider.value)); });
  frames.forEach((frame, number) => frame.addEventListener("click", () => { stop(); show(number); }));
  show(0);
}
