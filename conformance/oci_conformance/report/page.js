"use strict";
// Filters, keys and copying. Without this script the page can be read just as well.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const form = document.getElementById("filters");
  const search = document.getElementById("q");
  const shown = document.getElementById("shown");
  const clear = document.getElementById("clear");
  const nothing = document.getElementById("nothing");
  const rows = all("[data-status]");
  const sections = all(".section");
  const opened = new Map(all("details").map((one) => [one, one.open])); // as the page came
  const texts = new Map();
  const broken = ["error", "fail", "xpass"];

  const text = (row) => {
    if (!texts.has(row)) texts.set(row, row.textContent.toLowerCase());
    return texts.get(row);
  };
  const boxes = (name) => all(`input[name="${name}"]`, form);
  const chosen = (name) => boxes(name).filter((box) => box.checked).map((box) => box.value);
  const names = [...new Set(all("input[type=checkbox]", form).map((box) => box.name))];

  // A row stays if it has one of the chosen values of each kind, and every word that is searched for.
  function apply() {
    const wanted = names.map((name) => [name, chosen(name)]).filter(([, values]) => values.length);
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const active = wanted.length + words.length > 0;
    let count = 0;
    for (const row of rows) {
      const fits =
        wanted.every(([name, values]) => (row.dataset[name] || "").split(" ").some((one) => values.includes(one))) &&
        words.every((word) => text(row).includes(word));
      row.hidden = !fits;
      count += fits;
    }
    for (const section of sections) {
      const any = section.querySelector("[data-status]:not([hidden])") !== null;
      section.hidden = !any;
      section.open = active ? any : opened.get(section);
    }
    shown.textContent = active ? `${count} of ${rows.length} shown` : `${rows.length} requirements`;
    clear.hidden = !active;
    nothing.hidden = count > 0;
    for (const one of all(".broken, .others, .others + p")) one.hidden = active;
  }

  function remember() {
    const parts = names.map((name) => [name, chosen(name).join(",")]);
    const query = [...parts, ["q", search.value.trim()]].filter(([, value]) => value);
    const hash = query.map(([name, value]) => `${name}=${encodeURIComponent(value).replaceAll("%2C", ",")}`).join("&");
    history.replaceState(null, "", hash ? `#${hash}` : location.href.split("#")[0]);
  }

  // The address holds the filters (#status=fail&level=MUST&q=words) or the requirement to show (#r-state.pid).
  function read() {
    const hash = location.hash.slice(1);
    const target = hash && document.getElementById(hash);
    if (hash && !target && !hash.includes("=")) return;
    const query = new URLSearchParams(target ? "" : hash);
    for (const name of names) {
      const values = (query.get(name) || "").split(",");
      for (const box of boxes(name)) box.checked = values.includes(box.value);
    }
    search.value = query.get("q") || "";
    apply();
    if (target) {
      show(target);
    } else if (query.size) {
      scrollTo(0, document.getElementById("results").offsetTop);
    }
  }

  function show(target) {
    if (!target.matches(".row")) return;
    for (let one = target.querySelector("details"); one; one = one.parentElement.closest("details")) one.open = true;
    target.closest(".section").open = true;
    target.scrollIntoView();
    (target.querySelector("summary") || target).focus({ preventScroll: true });
  }

  function changed() {
    apply();
    remember();
  }

  function reset() {
    form.reset();
    changed();
  }

  const visible = (statuses) =>
    rows.filter((row) => !row.hidden && (!statuses || row.dataset.status.split(" ").some((one) => statuses.includes(one))));

  function move(step, statuses) {
    const list = visible(statuses);
    if (!list.length) return;
    const current = document.activeElement.closest("[data-status]");
    let next = list.indexOf(current) + step;
    if (current && !list.includes(current)) {
      const after = list.findIndex((row) => current.compareDocumentPosition(row) & Node.DOCUMENT_POSITION_FOLLOWING);
      next = step > 0 ? after : (after < 0 ? list.length : after) - 1;
    } else if (!current && step < 0) {
      next = list.length - 1;
    }
    const row = list[(next + list.length) % list.length];
    row.closest(".section").open = true;
    row.scrollIntoView({ block: "nearest" });
    (row.querySelector("summary") || row).focus();
  }

  function toggleBroken() {
    const now = chosen("status");
    const only = now.length > 0 && now.every((one) => broken.includes(one));
    for (const box of boxes("status")) box.checked = !only && broken.includes(box.value);
    changed();
  }

  function setOpen(open) {
    for (const section of sections) {
      if (section.hidden) continue;
      section.open = open;
      for (const one of all("[data-status]:not([hidden]) details", section)) one.open = open;
    }
  }

  const keys = {
    "/": () => search.focus(),
    j: () => move(1),
    k: () => move(-1),
    n: () => move(1, broken),
    p: () => move(-1, broken),
    f: toggleBroken,
    e: () => setOpen(true),
    c: () => setOpen(false),
    Escape: reset,
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.target.matches("input[type=search]") && event.key !== "Escape") return;
    if (keys[event.key]) {
      event.preventDefault();
      keys[event.key]();
    }
  });
  form.addEventListener("input", changed);
  form.addEventListener("submit", (event) => event.preventDefault());
  clear.addEventListener("click", reset);
  window.addEventListener("hashchange", read);
  document.addEventListener("click", async (event) => {
    const button = event.target.closest(".copy");
    if (!button) return;
    const code = button.nextElementSibling;
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code); // not allowed here: the person presses Ctrl-C
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });

  for (const one of all(".needs-script")) one.hidden = false;
  form.hidden = false;
  read();
  window.addEventListener("load", () => {
    const target = document.getElementById(location.hash.slice(1)); // going there, the browser took the focus away
    if (target) show(target);
  });
})();
