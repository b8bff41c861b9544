// Names and roles that the theme leaves out and a screen reader needs.
document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("nav details > summary").forEach((summary) => {
    summary.setAttribute("aria-label", "Show or hide the pages below");
  });
  document.querySelectorAll(".citation-list > .citation").forEach((entry) => entry.setAttribute("role", "listitem"));
});
