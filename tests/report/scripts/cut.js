/* What is cut at the side: anything wider than the page but a table that scrolls, and text outside its figure. */
(() => {
  const beyond = (inner, outer) => inner.width > 0 && (inner.left < outer.left - 1 || inner.right > outer.right + 1);
  const box = (element) => element.getBoundingClientRect();
  const page = document.documentElement;
  const seen = [...document.body.querySelectorAll("*")].filter((e) => e.checkVisibility());
  const wide = seen.filter((e) => beyond(box(e), { left: 0, right: page.clientWidth }) && !e.closest(".scroll table"));
  const outside = seen.filter((e) => e.matches("svg text") && beyond(box(e), box(e.closest("svg"))));
  const scrolled = page.scrollWidth > page.clientWidth ? [page] : [];
  return [...scrolled, ...wide, ...outside].map((e) => [e.tagName, e.textContent.trim().slice(0, 40)]);
})()
