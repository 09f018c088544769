"use strict";
document.documentElement.classList.add("on");
function key(cell) {
  const said = cell.dataset.v ?? cell.textContent.trim();
  const number = Number(said);
  return said !== "" && !Number.isNaN(number) ? number : said.toLowerCase();
}
function compare(a, b) {
  if (typeof a === typeof b) return a < b ? -1 : a > b ? 1 : 0;
  return typeof a === "number" ? -1 : 1;
}
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th");
    const body = head.closest("table").tBodies[0];
    const place = head.cellIndex;
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...body.rows].map((row) => [key(row.cells[place]), row]);
    rows.sort((a, b) => (down ? -1 : 1) * compare(a[0], b[0]));
    body.append(...rows.map((row) => row[1]));
  });
}
const words = document.getElementById("words");
const kind = document.getElementById("kind");
function filter() {
  const said = words.value.trim().toLowerCase();
  let shown = 0;
  for (const row of document.getElementById("samples").tBodies[0].rows) {
    const fits = row.textContent.toLowerCase().includes(said) && (!kind.value || row.dataset.kind.split(" ").includes(kind.value));
    row.hidden = !fits;
    shown += fits;
  }
  document.getElementById("shown").textContent = `${shown} shown`;
}
if (words) {
  words.addEventListener("input", filter);
  kind.addEventListener("change", filter);
}
for (const slider of document.querySelectorAll(".blend input")) {
  const above = slider.parentNode.querySelector("img + img");
  const set = () => { above.style.opacity = slider.value / 100; };
  slider.addEventListener("input", set);
  set();
}
