// Wide tables scroll, so the keyboard must reach them. The theme adds their regions after the page has loaded.
const reach = () => document.querySelectorAll(".md-typeset__scrollwrap").forEach((region) => (region.tabIndex = 0));
new MutationObserver(reach).observe(document.body, { childList: true, subtree: true });
reach();
