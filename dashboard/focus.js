// Keep the keyboard where a person is.
//
// When a part of the page has changed, Streamlit replaces its HTML, and the link that had the focus with it: the next
// Tab would begin at the top of the page. The link with the same address, at the same place among those with it, gets
// the focus back.
//
// What a popover shows lies at the end of the page. Opened by the keyboard, it gets the focus; closed, its button does.
(() => {
  const POPOVER = '[data-testid="stPopoverBody"]';
  const all = (href) => [...document.querySelectorAll(".stHtml a")].filter((a) => a.getAttribute("href") === href);
  let held = null;
  let opener = null;
  let settling = false; // inputs come after their form's button; the first of them gets the focus until a key is pressed

  document.addEventListener("keydown", () => (settling = false));
  document.addEventListener("focusin", (event) => {
    const link = event.target.closest?.(".stHtml a");
    const href = link?.getAttribute("href");
    held = link ? { link, href, place: all(href).indexOf(link) } : null;
  });
  document.addEventListener("focusout", ({ target }) =>
    setTimeout(() => {
      if (held?.link === target && target.isConnected) held = null; // a person left it
    }),
  );

  function follow() {
    const popover = document.querySelector(POPOVER);
    const active = document.activeElement;
    const first = popover?.querySelector("input, textarea, button, [tabindex='0']");
    if (first && !opener && active.matches('[data-testid="stPopoverButton"]:focus-visible')) {
      opener = active;
      settling = true;
    }
    if (first && settling) {
      if (first !== active) first.focus();
    } else if (!popover && opener) {
      if (active === document.body && opener.isConnected) opener.focus();
      opener = null;
    }
    if (held && !held.link.isConnected && document.activeElement === document.body) {
      const again = all(held.href);
      (again[held.place] ?? again[0])?.focus({ preventScroll: true });
    }
  }
  new MutationObserver(follow).observe(document, { childList: true, subtree: true });
})();
