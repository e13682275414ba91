"use strict";
document.body.classList.add("scripted");

/* The target: a list for each axis; answers were asked of `recommend`, here they are looked up. */
const stored = document.getElementById("targets");
if (stored) {
  const { axes, base, answers, cautions } = JSON.parse(stored.textContent);
  const names = { dataset_size: "data set", width: "width", epochs: "epochs", batch_size: "batch", peak_lr: "peak lr" };
  const form = document.getElementById("selector");
  const digits = (value, count = 2) => String(Number(value.toPrecision(count)));
  const lists = Object.entries(axes).map(([axis, values]) => {
    const label = document.createElement("label");
    label.textContent = names[axis];
    const list = document.createElement("select");
    list.name = axis;
    values.forEach((value, i) => list.add(new Option(value, i)));
    label.append(list);
    form.append(label);
    return list;
  });
  lists.forEach((list, i) => { list.value = base[i]; });
  const show = () => {
    const place = lists.reduce((at, list) => at * list.options.length + Number(list.value), 0);
    const answer = answers[place];
    const headline = document.getElementById("selected");
    const said = document.getElementById("selected-cautions");
    said.replaceChildren();
    if (!answer) {
      headline.textContent = "such a run cannot be: it has less than one batch of data";
      return;
    }
    const [decay, low, high, lr, run, epochs, which, doubt] = answer;
    const where = `at peak lr ${digits(lr, 4)}; timescale ${digits(100 * run)} % of the run = ${digits(epochs)} epochs`;
    headline.textContent = `weight decay ${digits(decay)}, range ${digits(low)} to ${digits(high)}, ${where}`;
    if (doubt) headline.textContent += `. Not usable as it is, see ${doubt}`;
    for (const i of which) {
      const item = document.createElement("li");
      item.textContent = cautions[i];
      said.append(item);
    }
  };
  form.addEventListener("change", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  show();
}

/* Loss curves: one of two pictures. */
const toggle = document.getElementById("axes");
const draw = (kind) => {
  for (const { classList } of document.querySelectorAll(".curves")) classList.toggle("shown", classList.contains(kind));
};
draw("linear");
if (toggle) {
  toggle.addEventListener("click", () => {
    const on = toggle.getAttribute("aria-pressed") !== "true";
    toggle.setAttribute("aria-pressed", String(on));
    draw(on ? "logarithmic" : "linear");
  });
}

/* Tables: a heading is a button that sorts by its column, again for the other way round. */
const table = document.querySelector("#probes table");
const headings = [...table.tHead.rows[0].cells];
const value = (row, i) => {
  const cell = row.cells[i];
  const text = cell.dataset.value || cell.textContent;
  const known = text === "inf" ? Infinity : Number(text);
  return text.trim() === "" || Number.isNaN(known) ? text : known;
};
const numbers = (a, b) => typeof a === "number" && typeof b === "number";
const before = (a, b) => (numbers(a, b) ? Number(a > b) - Number(a < b) : String(a).localeCompare(String(b)));
headings.forEach((heading, i) => {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = heading.textContent;
  heading.replaceChildren(button);
  button.addEventListener("click", () => {
    const up = heading.getAttribute("aria-sort") !== "ascending";
    headings.forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows].sort((a, b) => (up ? 1 : -1) * before(value(a, i), value(b, i)));
    table.tBodies[0].append(...rows);
  });
});

/* Marks: what they say, beside the pointer, at once. */
const tip = document.createElement("div");
tip.id = "tip";
tip.hidden = true;
tip.setAttribute("aria-hidden", "true");
document.body.append(tip);
document.addEventListener("pointermove", (event) => {
  const mark = event.target.closest && event.target.closest(".mark");
  tip.hidden = !mark;
  if (mark) {
    tip.textContent = mark.querySelector("title").textContent;
    tip.style.left = `${Math.max(0, Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 4))}px`;
    const [above, below] = [event.clientY - tip.offsetHeight - 8, event.clientY + 16];
    tip.style.top = `${below + tip.offsetHeight > innerHeight ? above : below}px`;
  }
});
