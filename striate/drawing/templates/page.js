// Each chart stands in the page as an SVG; here the same definition takes its place, with figures under the pointer.
for (const place of document.querySelectorAll(".drawing")) {
  const drawn = document.createElement("div");
  const definition = JSON.parse(place.nextElementSibling.textContent);
  const options = { renderer: "svg", actions: false, defaultStyle: false, tooltip: { disableDefaultStyle: true } };
  vegaEmbed(drawn, definition, options).then(() => place.replaceChildren(drawn));
}
// On paper everything is open but tables of many pages, which lie beside the report as CSV.
addEventListener("beforeprint", () => {
  for (const element of document.querySelectorAll("details:not([open], [data-long])")) { element.open = true; element.dataset.printed = ""; }
});
addEventListener("afterprint", () => {
  for (const element of document.querySelectorAll("details[data-printed]")) { element.open = false; delete element.dataset.printed; }
});
