// Wide tables scroll; a keyboard can scroll only what can have the focus.
window.addEventListener("load", () => {
  for (const region of document.querySelectorAll(".md-typeset__scrollwrap")) region.tabIndex = 0
})
