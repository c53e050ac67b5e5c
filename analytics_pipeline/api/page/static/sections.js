// What each part of the page shows of an answer. Nothing is computed here that an answer holds.

import { showBridge, showChart, showNothing } from "./charts.js";
import { $, element, table } from "./dom.js";
import { bucket, change, clock, companyName, count, eventType, instant, money, percent, points, shortMoney, signedMoney } from "./format.js";

const MAX_TICKS = 12;

/**
 * The headline figures. `before` holds the answers of the comparison period, null without one; `comparison` is the
 * name of it: growth over the period before and over a year is in the answer itself.
 */
export function showHeadlines({ revenue, users, before, comparison, comparedWith }) {
  const { currency } = revenue;
  const past = before ?? {};
  const amount = (value) => money(value, currency);
  const cards = [
    card("Total revenue", revenue.totalRevenue, past.revenue?.totalRevenue, amount, {
      given: { previous: revenue.revenueGrowth, year: revenue.totalRevenueYearOverYear },
    }),
    card("MRR", revenue.mrr, past.revenue?.mrr, amount, { given: { year: revenue.mrrYearOverYear } }),
    card("ARR", revenue.arr, past.revenue?.arr, amount),
    card("Revenue per user", revenue.averageRevenuePerUser, past.revenue?.averageRevenuePerUser, amount),
    card("Paying customers", revenue.payingCustomers, past.revenue?.payingCustomers, count),
    card("Active users", users?.activeUsers, past.users?.activeUsers, count),
    card("New users", users?.newUsers, past.users?.newUsers, count),
    card("User churn", users?.churnRate, past.users?.churnRate, percent, { isPoints: true, lessIsBetter: true }),
  ];

  function card(name, now, then, show, { given = {}, isPoints = false, lessIsBetter = false } = {}) {
    return { name, now, then, show, isPoints, lessIsBetter, rate: given[comparison] ?? change(now, then) };
  }

  const list = $("cards");
  const shownBefore = new Map([...list.children].map((item) => [item.dataset.name, item.dataset.value]));
  list.replaceChildren(
    ...cards.map(({ name, now, then, show, isPoints, lessIsBetter, rate }) => {
      const text = show(now);
      const isNew = shownBefore.has(name) && shownBefore.get(name) !== text;
      return element(
        "li",
        { class: "card", "data-name": name, "data-value": text },
        element("span", { class: "name" }, name),
        element("span", { class: isNew ? "value changed" : "value" }, text),
        before ? changeLine(isPoints ? difference(now, then) : rate, isPoints, lessIsBetter) : null,
        before ? element("span", { class: "before" }, `${show(then)} in ${comparedWith}`) : null,
      );
    }),
  );
}

function difference(now, then) {
  return [now, then].some((value) => value === null || value === undefined) ? null : Number(now) - Number(then);
}

function changeLine(rate, isPoints, lessIsBetter) {
  if (rate === null) return element("span", { class: "change muted" }, "no comparison");
  const value = Number(Number(rate).toFixed(1));
  const direction = value > 0 ? "▲ " : value < 0 ? "▼ " : "";
  const isGood = lessIsBetter ? value < 0 : value > 0;
  const text = isPoints ? points(value) : percent(value, { signed: true });
  return element("span", { class: `change ${value === 0 ? "muted" : isGood ? "good" : "worse"}` }, direction + text);
}

/** Amounts that no figure holds because no rate of exchange is known, and other things to know of the figures. */
export function showNotices({ revenue, stale, note, usersProblem }) {
  const notices = [];
  if (note) notices.push(note);
  if (revenue.unconverted?.length) {
    const amounts = revenue.unconverted.map((row) => `${money(row.amount, row.currency)} (${words(row.figure)}${row.part ? `, ${words(row.part)}` : ""})`);
    notices.push(`No rate of exchange is known for ${amounts.join("; ")}. These amounts are in no figure below.`);
  }
  if (stale) notices.push(`Events came in after ${stale} had been closed: it is closed again by itself, and figures may still move.`);
  if (usersProblem) notices.push(usersProblem);
  $("notices").replaceChildren(...notices.map((text) => element("p", { class: "notice" }, text)));
}

export function showRevenue({ series, before, currency, comparedWith }) {
  const title = "Revenue";
  const points = knownPoints(series);
  if (!points.some((point) => Number(point.totalRevenue) !== 0 || Number(point.refunds) !== 0)) {
    return showNothing($("revenue-chart"), title, "No payment in this period.");
  }
  const values = series.series.map((_, index) => points[index]?.totalRevenue ?? null);
  const shown = [{ name: "Revenue", values, kind: "bars", colour: "accent" }];
  if (before) {
    // Side by side by position: the first day of the one with the first day of the other.
    const past = values.map((_, index) => before.series[index]?.totalRevenue ?? null);
    shown.push({ name: comparedWith, values: past, kind: "dashes", colour: "before" });
  }
  showChart($("revenue-chart"), {
    title,
    summary: extremes(points, "totalRevenue", series, currency),
    labels: series.series.map((point) => bucket(point.start, series.interval, series.timeZone)),
    series: shown,
    show: (value) => money(value, currency),
    axis: (value) => shortMoney(value, currency),
  });
}

export function showMrr({ series, currency }) {
  const title = "Monthly recurring revenue";
  const points = knownPoints(series);
  if (!points.some((point) => Number(point.mrr) !== 0)) return showNothing($("mrr-chart"), title, "No subscription is running.");
  showChart($("mrr-chart"), {
    title,
    summary: `From ${money(points[0].mrr, currency)} at the end of ${bucket(points[0].start, "month")} to ${money(points.at(-1).mrr, currency)} in ${bucket(points.at(-1).start, "month")}.`,
    labels: points.map((point) => bucket(point.start, "month")),
    series: [{ name: "MRR", values: points.map((point) => point.mrr), kind: "line", colour: "accent" }],
    show: (value) => money(value, currency),
    axis: (value) => shortMoney(value, currency),
  });
}

const MOVEMENTS = [
  ["new", "New", 1],
  ["reactivation", "Reactivated", 1],
  ["expansion", "Expansion", 1],
  ["contraction", "Contraction", -1],
  ["churn", "Churn", -1],
  ["fx", "Exchange", 1],
  ["rounding", "Rounding", 1],
];

export function showMovements({ movements, currency }) {
  const title = "What moved MRR";
  const { start, end } = movements;
  const steps = MOVEMENTS.filter(([field]) => Number(movements[field]) !== 0 || ["new", "churn"].includes(field));
  if (Number(start) === 0 && Number(end) === 0 && steps.every(([field]) => Number(movements[field]) === 0)) {
    return showNothing($("bridge-chart"), title, "No subscription began, changed or ended in this period.");
  }
  const amountOf = (field, sign) => signedMoney(sign < 0 ? negated(movements[field]) : movements[field], currency);
  let level = Number(start);
  const bars = [{ name: "Start", from: 0, to: level, colour: "accent", text: money(start, currency), short: shortMoney(start, currency) }];
  for (const [field, name, sign] of steps) {
    const moved = sign * Number(movements[field]);
    bars.push({ name, from: level, to: level + moved, colour: moved < 0 ? "loss" : "gain", text: amountOf(field, sign), short: Math.abs(moved) < 1 ? "" : shortMoney(moved, currency) });
    level += moved;
  }
  bars.push({ name: "End", from: 0, to: Number(end), colour: "accent", text: money(end, currency), short: shortMoney(end, currency) });
  showBridge($("bridge-chart"), {
    title,
    summary: `From ${money(start, currency)} to ${money(end, currency)}: ${steps.map(([field, name, sign]) => `${name.toLowerCase()} ${amountOf(field, sign)}`).join(", ")}.`,
    steps: bars,
    axis: (value) => shortMoney(value, currency),
  });
}

export function showUsers({ series }) {
  const title = "Users";
  const points = knownPoints(series);
  if (!points.some((point) => point.activeUsers || point.newUsers)) return showNothing($("users-chart"), title, "Nobody was active in this period.");
  const of = (field) => series.series.map((_, index) => points[index]?.[field] ?? null);
  const most = points.reduce((found, point) => (Number(point.activeUsers ?? 0) > Number(found.activeUsers ?? 0) ? point : found), points[0]);
  showChart($("users-chart"), {
    title,
    summary: `Most active users: ${count(most.activeUsers)}, ${bucket(most.start, series.interval, series.timeZone)}. New in the period: ${count(points.reduce((sum, point) => sum + Number(point.newUsers ?? 0), 0))}.`,
    labels: series.series.map((point) => bucket(point.start, series.interval, series.timeZone)),
    series: [
      { name: "Active", values: of("activeUsers"), kind: "line", colour: "accent" },
      { name: "New", values: of("newUsers"), kind: "line", colour: "second" },
    ],
    show: count,
    axis: count,
  });
}

export function showTopEvents({ topEvents }) {
  const body = $("events").querySelector(".body");
  if (!topEvents.length) return body.replaceChildren(element("p", { class: "nothing" }, "No event in this period."));
  const most = Math.max(...topEvents.map((row) => Number(row.events)));
  const share = (events) => {
    const bar = element("span", { class: "share", "aria-hidden": "true" });
    bar.style.width = `${(Number(events) / most) * 100}%`;
    return bar;
  };
  const rows = topEvents.map((row) => [element("span", {}, eventType(row.eventType), share(row.events)), words(row.category), count(row.events)]);
  body.replaceChildren(table("Top events", [{ name: "Event" }, { name: "Category" }, { name: "Events", number: true }], rows));
}

/** Companies side by side; `choose` is called with the one that is picked. */
export function showCompanies({ companies, currency, choose }) {
  const rows = companies.map((row) => [
    element("button", { type: "button", class: "link", onclick: () => choose(row.companyId) }, companyName(row.companyId)),
    money(row.totalRevenue, currency),
    percent(row.revenueGrowth, { signed: true }),
    money(row.mrr, currency),
    count(row.payingCustomers),
    count(row.activeUsers),
    count(row.newUsers),
    money(row.averageRevenuePerUser, currency),
  ]);
  const columns = ["Revenue", "Growth", "MRR", "Customers", "Active users", "New users", "Revenue per user"];
  const body = $("companies").querySelector(".scroll");
  body.replaceChildren(
    rows.length
      ? table("Companies", [{ name: "Company" }, ...columns.map((name) => ({ name, number: true }))], rows)
      : element("p", { class: "nothing" }, "No company has events yet."),
  );
}

/** The documents there are; `open` is called with one and the format that is wanted. */
export function showDocuments({ reports, open }) {
  const body = $("documents").querySelector(".body");
  if (!reports.length) return body.replaceChildren(element("p", { class: "nothing" }, "No report yet: they are made when a month is closed."));
  const rows = reports.map((report) => [
    `${bucket(report.period, "month")}${report.provisional ? ", provisional" : ""}`,
    companyName(report.companyId),
    String(report.revision),
    element(
      "span",
      { class: "formats" },
      Object.keys(report.files).map((format) =>
        element(
          "button",
          { type: "button", class: "link", onclick: () => open(report, format) },
          format.toUpperCase(),
          element("span", { class: "hidden" }, ` of ${companyName(report.companyId, "all companies")}, ${bucket(report.period, "month")}`),
        ),
      ),
    ),
  ]);
  const columns = [{ name: "Report of" }, { name: "Company" }, { name: "Revision" }, { name: "Open", number: true }];
  body.replaceChildren(table("Documents", columns, rows));
}

/** The months of the period that are signed off, with the figures that differ since and why; `open` opens a document. */
export function showSignoffs({ signoffs, month, open }) {
  const body = $("signoffs").querySelector(".body");
  if (!signoffs.length) {
    return body.replaceChildren(element("p", { class: "nothing" }, month ? `${bucket(month, "month")} is not signed off.` : "No month of this period is signed off."));
  }
  body.replaceChildren(...signoffs.flatMap((signoff) => signed(signoff, open)));
}

function signed({ month, companyId, signedBy, signedAt, currency, document, restatements, causes }, open) {
  const whose = companyName(companyId, "All companies together");
  const about = `${bucket(month, "month")}, ${whose}`;
  const hidden = element("span", { class: "hidden" }, ` of ${about}`);
  const opening = element("button", { type: "button", class: "link", onclick: () => open({ id: document.id, companyId }, "pdf") }, "Signed document", hidden);
  const line = element("p", {}, `${about}: signed off by ${signedBy}, ${instant(signedAt)}. `, opening);
  const show = (value, unit) => ({ money: () => money(value, currency), percent: () => percent(value) })[unit]?.() ?? (value === null ? "undefined" : String(value));
  const shift = (value, unit) => (value === null ? "" : unit === "money" ? signedMoney(value, currency) : unit === "percent" ? points(value) : `${Number(value) > 0 ? "+" : ""}${value}`);
  const rows = restatements.map((row) => [row.label, show(row.before, row.unit), show(row.after, row.unit), shift(row.difference, row.unit)]);
  const columns = ["Signed", "Now", "Difference"].map((name) => ({ name, number: true }));
  const because = causes.length ? element("p", { class: "muted" }, `Changed since: ${causes.map((cause) => cause.text).join("; ")}.`) : null;
  return [line, rows.length ? table(`Restatements of ${about}`, [{ name: "Restated figure" }, ...columns], rows) : null, because].filter(Boolean);
}

/** Today's figures, and what has changed since the message before: the newest first. */
export function showTick({ message, previous }) {
  const { today, currency } = message;
  $("today").replaceChildren(
    ...[
      ["Revenue today", money(today.totalRevenue, currency)],
      ["Active users today", count(today.activeUsers)],
      ["Events today", count(today.events)],
    ].map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))),
  );
  const list = $("changes");
  const changes = previous ? changesOf(today, previous.today, currency) : [];
  if (changes.length) {
    list.querySelector(".nothing")?.remove();
    const now = new Date();
    list.prepend(element("li", {}, element("time", { datetime: now.toISOString() }, clock(now)), element("span", {}, changes.join(", "))));
    while (list.children.length > MAX_TICKS) list.lastChild.remove();
  } else if (!previous) {
    list.replaceChildren(element("li", { class: "nothing" }, "New events show up here as they come in."));
  }
  return changes;
}

function changesOf(now, before, currency) {
  if (now.date !== before.date) return [];
  const changes = [];
  const earlier = new Map(before.topEvents.map((row) => [row.eventType, Number(row.events)]));
  for (const row of now.topEvents) {
    const more = Number(row.events) - (earlier.get(row.eventType) ?? 0);
    if (more > 0) changes.push(`${count(more)} ${eventType(row.eventType).toLowerCase()}`);
  }
  if (now.totalRevenue !== before.totalRevenue) {
    changes.push(`revenue ${money(before.totalRevenue, currency)} → ${money(now.totalRevenue, currency)}`);
  }
  return changes;
}

/** The points of a series up to the newest event: what lies behind it is not known, and no zero. */
function knownPoints({ series, dataThrough }) {
  return dataThrough ? series.filter((point) => new Date(point.start) <= new Date(dataThrough)) : [];
}

function extremes(points, field, { interval, timeZone }, currency) {
  const sorted = [...points].sort((one, other) => Number(one[field]) - Number(other[field]));
  const name = (point) => `${money(point[field], currency)} (${bucket(point.start, interval, timeZone)})`;
  return points.length === 1 ? name(points[0]) : `Highest ${name(sorted.at(-1))}, lowest ${name(sorted[0])}.`;
}

function negated(amount) {
  const text = String(amount);
  return text.startsWith("-") ? text.slice(1) : `-${text}`;
}

function words(name) {
  return name.replace(/([A-Z])/g, " $1").replace(/_/g, " ").toLowerCase();
}

