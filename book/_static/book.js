// Names and roles that the theme leaves out and a screen reader needs.
document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("nav details > summary").forEach((summary) => {
    summary.setAttribute("aria-label", "Show or hide the pages below");
  });
  document.querySelectorAll(".citation-list > .citation").forEach((entry) => entry.setAttribute("role", "listitem"));
});

// The ledger's filters: words, part, verdict. Without this script the whole table is there.
document.addEventListener("DOMContentLoaded", () => {
  const table = document.querySelector("table.ledger:not(.costs)");
  if (!table) return;
  const rows = [...table.tBodies[0].rows];
  const choice = (label, key) => {
    const values = [...new Set(rows.map((row) => row.dataset[key]))];
    const options = values.map((value) => `<option value="${value}">${value.replaceAll("_", " ")}</option>`).join("");
    return `<label>${label} <select name="${key}"><option value="">all</option>${options}</select></label>`;
  };
  const form = document.createElement("form");
  form.className = "ledger-filters";
  form.innerHTML =
    `<label>Words <input type="search" name="words" placeholder="chapter, claim, bound"></label>` +
    choice("Part", "part") + choice("Verdict", "verdict") + `<output aria-live="polite"></output>`;
  const filter = () => {
    const words = form.words.value.toLowerCase().split(/\s+/);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !(
        words.every((word) => text.includes(word)) &&
        ["part", "verdict"].every((key) => !form[key].value || form[key].value === row.dataset[key])
      );
    }
    const shown = rows.filter((row) => !row.hidden).length;
    form.querySelector("output").textContent = `${shown} of ${rows.length} claims`;
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  table.closest(".pst-scrollable-table-container").before(form);
  filter();
  // A link to a row that is hidden, or that stands below the form, still leads to it.
  const reveal = () => {
    const row = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!row || !rows.includes(row)) return;
    if (row.hidden) form.reset(), filter();
    row.scrollIntoView({ block: "center" });
  };
  window.addEventListener("hashchange", reveal);
  reveal();
});
