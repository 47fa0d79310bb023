// Copyright (c) 2026, the hpc.apptainer contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  document.documentElement.classList.add("scripted");

  // Nobody writes to a page that is not replaced any more, so it has to say itself that it is old. It is asked again, for pages that stay open.
  const age = () => {
    const due = byId("due");
    if (!due) return;
    const hours = (Date.now() - Date.parse(document.querySelector(".when time").dateTime)) / 3600000;
    byId("age").textContent = hours < 72 ? `${Math.floor(hours)} hours` : `${Math.floor(hours / 24)} days`;
    byId("stale").hidden = Date.now() < Date.parse(due.dateTime);
  };
  age();
  setInterval(age, 60000);
  addEventListener("focus", age);

  // On paper nothing can be opened, so everything is printed open, except the rows in the long list of differences. Afterwards it is closed again.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")].filter((details) => !details.closest(".more .row"));
    opened.forEach((details) => { details.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((details) => { details.open = false; }));

  const copy = async (button, names) => {
    const text = names.join(",");
    const before = button.dataset.label || button.textContent;
    button.dataset.label = before;
    try {
      await navigator.clipboard.writeText(text);
    } catch {  // not allowed, or the page was fetched by plain http
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      button.focus();
    }
    button.textContent = `Copied ${names.length.toLocaleString("en")}`;
    setTimeout(() => { button.textContent = before; }, 2000);
  };
  const hostsWith = (key) => data.hosts.filter((host) => host.keys.includes(key));
  if (!byId("hosts")) return;

  // The text to search in, converted to lower case only once.
  data.hosts = data.hosts.map(([name, state, keys], order) => {
    const texts = keys.map((key) => data.texts[key]);
    return {name, state, keys, order, texts, searched: [name, data.labels[state], ...texts].join("\n").toLowerCase()};
  });
  const PAGE = 100;
  const search = byId("search");
  const rank = Object.keys(data.labels);
  const view = {states: new Set(), key: "", column: 0, down: false, all: false, found: []};

  const compare = [
    (a, b) => a.order - b.order,
    (a, b) => rank.indexOf(a.state) - rank.indexOf(b.state) || a.order - b.order,
    (a, b) => a.texts.join().localeCompare(b.texts.join(), "en", {numeric: true}) || a.order - b.order,
  ];
  const element = (tag, text, name, role) => {
    const node = document.createElement(tag);
    if (role) node.setAttribute("role", role);  // on a narrow screen, the browser no longer treats the table as one
    if (text) node.textContent = text;
    if (name) node.className = name;
    return node;
  };
  const row = (host) => {
    const tr = element("tr", "", "", "row");
    const state = element("td", "", host.state, "cell");
    const mark = element("span", "", `mark ${host.state}`);
    mark.setAttribute("aria-hidden", "true");
    state.append(mark, data.labels[host.state]);
    const texts = element("td", "", "", "cell");
    texts.append(...host.texts.map((text) => element("p", text)));
    tr.append(element("td", host.name, "", "rowheader"), state, texts);
    return tr;
  };
  const render = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    view.found = data.hosts.filter((host) => (!view.states.size || view.states.has(host.state))
      && (!view.key || host.keys.includes(view.key)) && words.every((word) => host.searched.includes(word)));
    view.found.sort(compare[view.column]);
    if (view.down) view.found.reverse();
    const shown = view.all ? view.found : view.found.slice(0, PAGE);
    byId("rows").replaceChildren(...shown.map(row));
    const number = (count) => count.toLocaleString("en");
    const of = view.found.length === data.hosts.length ? "" : ` of ${number(data.hosts.length)}`;
    byId("shown").textContent = `${number(view.found.length)}${of} host${data.hosts.length === 1 ? "" : "s"}`
      + (view.key ? ` with: ${data.texts[view.key]}` : "");
    byId("all").hidden = shown.length === view.found.length;
    byId("all").textContent = `Show the other ${number(view.found.length - shown.length)}`;
    byId("copy").disabled = !view.found.length;
    byId("reset").hidden = !words.length && !view.states.size && !view.key;
    document.querySelectorAll("[data-state]").forEach((button) => button.setAttribute("aria-pressed", view.states.has(button.dataset.state)));
    document.querySelectorAll("[data-sort]").forEach((button) => {
      const th = button.parentElement;
      if (+button.dataset.sort === view.column) th.setAttribute("aria-sort", view.down ? "descending" : "ascending");
      else th.removeAttribute("aria-sort");
    });
  };
  const reset = () => {
    search.value = "";
    Object.assign(view, {states: new Set(), key: "", all: false});
    render();
  };

  search.addEventListener("input", () => { view.all = false; render(); });
  addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey && event.target !== search) {
      event.preventDefault();
      search.focus();
    } else if (event.key === "Escape") reset();
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const {state, sort, copy: copied, show} = button.dataset;
    if (state) {
      if (!view.states.delete(state)) view.states.add(state);
      view.all = false;
      render();
    } else if (sort) {
      view.down = +sort === view.column && !view.down;
      view.column = +sort;
      render();
    } else if (show) {
      Object.assign(view, {key: show, states: new Set(), all: false});
      search.value = "";
      render();
      byId("hosts").scrollIntoView();
      search.focus({preventScroll: true});
    } else if (copied) copy(button, hostsWith(copied).map((host) => host.name));
    else if (button.id === "copy") copy(button, view.found.map((host) => host.name));
    else if (button.id === "reset") { reset(); search.focus(); }
    else if (button.id === "all") { view.all = true; render(); }
  });
  render();
})();
