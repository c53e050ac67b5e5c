// The page: what is picked, what is loaded for it, and when it is loaded again.

import { redrawCharts } from "./charts.js";
import { Problem, ask, request, token } from "./client.js";
import { $, element } from "./dom.js";
import { bucket, companyName, instant, nameCompanies, period } from "./format.js";
import { connectLive } from "./live.js";
import { COMPARISONS, PERIODS, comparison, dayIn, days, holds, isMonth, iso, monthsUpTo, series } from "./periods.js";
import * as sections from "./sections.js";

const TREND_MONTHS = 13;
const TOP_EVENTS = 10;
const DOCUMENTS = 24;
// Charts are read anew at most so often while events come in; headline figures move with each message.
const RELOAD_MS = 10_000;
const NUMBERS = { numbers: "string" };

const session = {
  isOperator: false,
  companyId: null,
  dataThrough: null,
  /** The time zone and the currency of each company that was shown, in the time zone that was picked for it. */
  calendars: new Map(),
  calendar: { timeZone: "UTC", currency: "" },
  /** What is shown: the answers of the last load. */
  shown: null,
  /** The newest live message, and whether the ticker takes it. */
  message: null,
  paused: false,
  endLive: () => {},
  loading: new AbortController(),
  reload: null,
};

const picked = readAddress();

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  const one = (name, choices, other) => (Object.hasOwn(choices, given.get(name) ?? "") ? given.get(name) : other);
  return {
    company: given.get("company") ?? "",
    period: one("period", PERIODS, "latest-month"),
    compare: one("compare", COMPARISONS, "previous"),
    currency: given.get("currency") ?? "",
    timeZone: given.get("zone") ?? "",
    firstDay: given.get("first") ?? "",
    lastDay: given.get("last") ?? "",
  };
}

/** Keep what is picked behind the # of the address, so that it can be bookmarked; a server never sees it. */
function writeAddress() {
  const { company, period: name, compare, currency, timeZone: zone, firstDay, lastDay } = picked;
  const dates = name === "custom" ? { first: firstDay, last: lastDay } : {};
  const given = Object.entries({ company, period: name, compare, currency, zone, ...dates }).filter(([, value]) => value);
  history.replaceState(null, "", `#${new URLSearchParams(given)}`);
}

// Signing in and out

function showSignIn(reason = "") {
  session.loading.abort();
  session.endLive();
  clearTimeout(session.reload);
  token.forget();
  Object.assign(session, { isOperator: false, companyId: null, shown: null, message: null, endLive: () => {} });
  $("dashboard").hidden = true;
  $("sign-out").hidden = true;
  $("sign-in").hidden = false;
  $("sign-in-reason").textContent = reason;
  $("live").textContent = "not connected";
  $("token").value = "";
  $("token").focus();
  document.title = "Analytics";
}

async function signIn() {
  $("sign-in").hidden = true;
  $("dashboard").hidden = false;
  $("sign-out").hidden = false;
  await load();
  // Unless the token was none, and is asked for again.
  if (token.get()) $("main").focus({ preventScroll: true });
}

// Loading

/** Ask for everything that is picked and show it. A part that fails says so in its place, the others are shown. */
async function load({ quietly = false } = {}) {
  session.loading.abort();
  session.loading = new AbortController();
  clearTimeout(session.reload);
  session.reload = null;
  const { signal } = session.loading;
  if (!quietly) $("figures").setAttribute("aria-busy", "true");
  try {
    if (session.dataThrough === null) await whoAmI(signal);
    await loadPicked(signal);
    $("problem").hidden = true;
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error.status === 401) return showSignIn(error.message);
    showProblem(error);
  } finally {
    if (!signal.aborted) $("figures").setAttribute("aria-busy", "false");
  }
}

/** Whose token it is: the answer names the company, none for operators, who pick one. */
async function whoAmI(signal) {
  const answer = await ask("revenue", NUMBERS, signal);
  session.isOperator = answer.companyId === null;
  session.companyId = answer.companyId;
  session.dataThrough = answer.dataThrough ?? "";
  session.calendars.clear();
  if (!session.isOperator) picked.company = "";
}

/** In which time zone and currency the company that is picked is answered: an answer without dates says so. */
async function calendarOf(companyId, timeZone, signal) {
  const key = JSON.stringify([companyId, timeZone]);
  if (!session.calendars.has(key)) {
    const answer = await ask("revenue", { companyId, timeZone, ...NUMBERS }, signal);
    session.calendars.set(key, { timeZone: answer.timeZone, currency: answer.currency });
  }
  return session.calendars.get(key);
}

/** The day that an instant, the clock's without one, is in the time zone of what is shown. */
function dayOf(instant = new Date()) {
  return dayIn(session.calendar.timeZone, instant);
}

async function loadPicked(signal) {
  const companyId = session.isOperator ? picked.company : "";
  const { timeZone } = picked;
  session.calendar = await calendarOf(companyId, timeZone, signal);
  const newestDay = session.dataThrough ? dayOf(new Date(session.dataThrough)) : null;
  const span = days(picked.period, { ...picked, today: dayOf(), newestDay });
  const past = comparison(picked.compare, span);
  const of = ({ first, last }) => ({ companyId, startDate: first, endDate: last, timeZone, ...NUMBERS });
  const inMoney = (days) => ({ ...of(days), currency: picked.currency });
  const get = (path, parameters) => ask(path, parameters, signal);
  const detail = series(span);
  const trend = monthsUpTo(span.last, TREND_MONTHS);
  showPickers(span);

  const parts = {
    revenue: get("revenue", inMoney(span)),
    users: get("users", of(span)),
    revenueBefore: past && get("revenue", inMoney(past)),
    usersBefore: past && get("users", of(past)),
    series: get("revenue/series", { ...inMoney(detail), interval: detail.interval }),
    seriesBefore: past && get("revenue/series", { ...inMoney(series(past)), interval: detail.interval }),
    userSeries: get("users/series", { ...of(detail), interval: detail.interval === "hour" ? "day" : detail.interval }),
    trend: get("revenue/series", { ...inMoney(trend), interval: "month" }),
    topEvents: get("events/top", { ...of(span), limit: TOP_EVENTS }),
    companies: get("companies", { ...inMoney(span), companyId: "" }),
    partitions: get("partitions", { startDate: span.first, endDate: span.last }),
    reports: get("reports", { companyId, limit: DOCUMENTS }),
    signoffs: get("signoffs", { companyId, startDate: span.first, endDate: span.last, ...NUMBERS }),
  };
  const names = Object.keys(parts);
  const settled = await Promise.allSettled(Object.values(parts));
  if (signal.aborted) throw new DOMException("superseded", "AbortError");
  const found = Object.fromEntries(settled.map((one, index) => [names[index], one]));
  const value = (name) => (found[name].status === "fulfilled" ? found[name].value : null);
  const failed = settled.find((one) => one.status === "rejected" && one.reason.status === 401) ?? found.revenue;
  if (failed.status === "rejected") throw failed.reason;

  session.dataThrough = value("revenue").dataThrough ?? "";
  session.shown = { span, past, revenue: value("revenue"), users: value("users"), before: null };
  if (past && value("revenueBefore")) session.shown.before = { revenue: value("revenueBefore"), users: value("usersBefore") };
  showAll(value, (name) => found[name].reason);
  connect();
}

function showAll(value, reason) {
  const { span, past, revenue } = session.shown;
  const { currency } = revenue;
  nameCompanies(value("companies")?.companies ?? []);
  const comparedWith = past ? period(past.first, past.last) : "";
  showTitle();
  sections.showNotices({
    revenue,
    note: emptyNote(span),
    stale: staleAssets(value("partitions")),
    usersProblem: value("users") ? "" : `Users: ${reason("users").message}`,
  });
  showHeadlines();
  const part = (name, place, show, title = null) => {
    if (value(name)) show(value(name));
    else place.replaceChildren(...(title ? [element("h2", {}, title)] : []), element("p", { class: "nothing" }, reason(name).message));
  };
  const inside = (id, selector) => $(id).querySelector(selector);
  part("series", $("revenue-chart"), (answer) =>
    sections.showRevenue({ series: answer, before: value("seriesBefore"), currency, comparedWith }), "Revenue");
  part("trend", $("mrr-chart"), (answer) => sections.showMrr({ series: answer, currency }), "Monthly recurring revenue");
  sections.showMovements({ movements: revenue.mrrMovements, currency });
  part("userSeries", $("users-chart"), (answer) => sections.showUsers({ series: answer }), "Users");
  part("topEvents", inside("events", ".body"), sections.showTopEvents);
  part("reports", inside("documents", ".body"), ({ reports }) => sections.showDocuments({ reports, open: openDocument }));
  showSigning(value("signoffs"), span);
  $("companies").hidden = !session.isOperator || picked.company !== "";
  if (session.isOperator) {
    part("companies", inside("companies", ".scroll"), ({ companies }) => {
      fillCompanies(companies);
      sections.showCompanies({ companies, currency, choose: (company) => pick({ company }) });
    });
  }
  $("said").textContent = `Figures of ${$("title").firstChild.textContent}, ${period(span.first, span.last)}.`;
}

function showHeadlines() {
  const { past, revenue, users, before } = session.shown;
  const comparedWith = past ? period(past.first, past.last) : "";
  sections.showHeadlines({ revenue, users, before, comparison: picked.compare, comparedWith });
}

function showTitle() {
  const { span, revenue } = session.shown;
  const name = companyName(revenue.companyId);
  const provisional = element("span", { class: "badge", title: "The period has not ended: its figures still move." }, "provisional");
  $("title").replaceChildren(name, ...(revenue.provisional ? [" ", provisional] : []));
  $("scope").textContent = `${period(span.first, span.last)} (${revenue.timeZone}), in ${revenue.currency}. Data through ${instant(revenue.dataThrough)}.`;
  document.title = `${name}: analytics`;
  $("footer").replaceChildren(
    element("p", {}, `Days, months and hours are those of ${revenue.timeZone}. Balances are as of ${instant(revenue.asOf)}. Definitions version ${revenue.definitionsVersion}.`),
    revenue.provisional ? element("p", {}, "Provisional: the period has not ended, and its figures still move.") : "",
  );
}

function emptyNote(span) {
  const { revenue, users } = session.shown;
  if (!session.dataThrough) return "There are no events yet. The figures appear here as soon as the first ones are ingested.";
  const isEmpty = Number(revenue.totalRevenue) === 0 && Number(revenue.mrr) === 0 && !Number(users?.activeUsers ?? 0);
  if (isEmpty) return `${companyName(revenue.companyId, "No company")} has no events in ${period(span.first, span.last)}. Pick another period, or wait for the first events.`;
  if (picked.period === "latest-month" && iso(dayOf(new Date(session.dataThrough))).slice(0, 7) < iso(dayOf()).slice(0, 7)) {
    return `There are no events after ${instant(session.dataThrough)}: this is the latest month that has some.`;
  }
  return "";
}

/** Which assets have closed partitions in the period that have changed since. */
function staleAssets(answer) {
  const assets = (answer?.partitions ?? []).filter((one) => one.state === "stale").map((one) => one.asset);
  return [...new Set(assets)].join(", ");
}

function showProblem(error) {
  const text = error instanceof Problem ? error.message : `Something is wrong with this page: ${error.message}`;
  const again = element("button", { type: "button", class: "quiet", onclick: () => load() }, "Try again");
  $("problem").replaceChildren(text, again);
  $("problem").hidden = false;
}

// Live

function connect() {
  const { currency, timeZone } = session.shown.revenue;
  const scope = { companyId: session.isOperator ? picked.company || null : null, currency, timeZone };
  const key = JSON.stringify(scope);
  if (session.liveKey === key && session.isConnected) return;
  session.endLive();
  session.liveKey = key;
  session.isConnected = true;
  session.message = null;
  $("changes").replaceChildren(element("li", { class: "nothing" }, "Waiting for the current figures."));
  const end = connectLive({
    ...scope,
    onFigures: takeMessage,
    onState: (state) => {
      $("live").dataset.state = state;
      $("live").textContent = { on: "live", connecting: "connecting", off: "not connected" }[state];
    },
    onSignedOut: () => showSignIn("The token is not valid any more."),
  });
  session.endLive = () => {
    session.isConnected = false;
    end();
  };
}

/** Show a live message: the figures of the current month at once, what else the period holds a little later. */
function takeMessage(message) {
  if (session.paused || !session.shown) {
    session.waiting = message;
    return;
  }
  const previous = session.message;
  session.message = message;
  session.dataThrough = message.revenue.dataThrough ?? "";
  const changes = sections.showTick({ message, previous });
  const { span, revenue } = session.shown;
  const isMonth = message.revenue.startDate === span.first && message.revenue.endDate === span.last;
  if (isMonth && message.revenue.currency === revenue.currency && message.timeZone === revenue.timeZone) {
    Object.assign(session.shown, { revenue: message.revenue, users: message.users ?? session.shown.users });
    showTitle();
    showHeadlines();
    sections.showMovements({ movements: message.revenue.mrrMovements, currency: revenue.currency });
  }
  if (previous && changes.length && (holds(span, dayOf()) || picked.period === "latest-month")) {
    session.reload ??= setTimeout(() => load({ quietly: true }), RELOAD_MS);
  }
}

// Picking

function pick(change) {
  Object.assign(picked, change);
  writeAddress();
  load();
}

function fillChoices(select, choices, chosen) {
  select.replaceChildren(...Object.entries(choices).map(([value, name]) => element("option", { value, selected: value === chosen }, name)));
}

function fillCompanies(companies) {
  const ids = companies.map((row) => row.companyId);
  if (picked.company && !ids.includes(picked.company)) ids.push(picked.company);
  const byName = ids.map((id) => [id, companyName(id)]).sort(([, one], [, other]) => (one < other ? -1 : 1));
  fillChoices($("company"), { "": "All companies", ...Object.fromEntries(byName) }, picked.company);
}

function showPickers(span) {
  $("company-field").hidden = !session.isOperator;
  for (const label of document.querySelectorAll(".dates")) label.hidden = picked.period !== "custom";
  $("first-day").value = span.first;
  $("last-day").value = span.last;
  $("currency").value = picked.currency || session.calendar.currency;
  $("time-zone").value = picked.timeZone || session.calendar.timeZone;
}

function pickDates() {
  const [firstDay, lastDay] = [$("first-day").value, $("last-day").value];
  if (!firstDay || !lastDay) return;
  if (lastDay < firstDay) return showProblem(new Problem(422, "The last day is before the first one."));
  pick({ firstDay, lastDay });
}

// Signing off

/** What is signed off of the period, and for a token that may sign a form, where the period is one month that is over. */
function showSigning(answer, span) {
  const month = isMonth(span) && span.last < iso(dayOf()) ? span.first.slice(0, 7) : null;
  const companyId = session.companyId ?? (picked.company || null);
  const isSigned = (answer?.signoffs ?? []).some((one) => one.companyId === companyId);
  $("signoffs").hidden = !answer || (!answer.signoffs.length && !(answer.maySign && month));
  $("sign-form").hidden = !answer?.maySign || !month || isSigned;
  $("sign").textContent = `Sign off ${month ? bucket(month, "month") : ""}, ${companyName(companyId, "all companies")}`;
  if ($("sign-form").dataset.month !== month) $("sign-answer").textContent = "";
  $("sign-form").dataset.month = month ?? "";
  if (answer) sections.showSignoffs({ signoffs: answer.signoffs, month, open: openDocument });
}

async function signMonth() {
  const { month } = $("sign-form").dataset;
  const companyId = session.isOperator ? picked.company || null : null;
  $("sign-answer").textContent = "";
  try {
    await request("signoffs", { method: "POST", body: { month, signedBy: $("signer").value, companyId } });
    await load({ quietly: true });
    $("sign-answer").textContent = `${bucket(month, "month")} is signed off.`;
    $("signoffs").querySelector(".body").focus();
  } catch (error) {
    if (error.status === 401) return showSignIn(error.message);
    $("sign-answer").textContent = error.message;
  }
}

// Documents

/** Open a document by an address of its own, which holds a key for it alone and ends soon. */
async function openDocument(report, format) {
  // Opened before the answer is here: a browser allows new tabs in answer to a click only.
  const tab = open("about:blank", "_blank");
  try {
    const companyId = session.isOperator ? report.companyId : "";
    const { url } = await (await request(`reports/${report.id}/address`, { method: "POST", parameters: { companyId, format } })).json();
    // The server names itself as others reach it; this page has reached it already.
    const address = new URL(`documents/${url.split("/").pop()}`, document.baseURI);
    if (tab) {
      tab.opener = null;
      tab.location.replace(address);
    } else location.assign(address);
  } catch (error) {
    tab?.close();
    if (error.status === 401) return showSignIn(error.message);
    showProblem(error);
  }
}

// The start

function theme(choice) {
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const shown = choice ?? system;
  document.documentElement.dataset.theme = shown;
  $("theme").textContent = shown === "dark" ? "Light" : "Dark";
  $("theme").setAttribute("aria-label", `Switch to ${shown === "dark" ? "light" : "dark"} colours`);
  redrawCharts();
}

function chosenTheme() {
  return localStorage.getItem("theme") ?? undefined;
}

function start() {
  theme(chosenTheme());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => theme(chosenTheme()));
  $("theme").addEventListener("click", () => {
    localStorage.setItem("theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    theme(chosenTheme());
  });
  // Paper is white.
  addEventListener("beforeprint", () => theme("light"));
  addEventListener("afterprint", () => theme(chosenTheme()));
  $("print").addEventListener("click", () => print());
  $("sign-out").addEventListener("click", () => showSignIn());
  $("sign-in-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = $("token").value.trim();
    // What can't stand in a header is no token.
    if (!/^[\x21-\x7e]+$/.test(text)) return showSignIn("That is no token: it has letters, digits and signs, and no blanks.");
    token.keep(text);
    session.dataThrough = null;
    signIn();
  });
  fillChoices($("period"), PERIODS, picked.period);
  fillChoices($("compare"), COMPARISONS, picked.compare);
  $("sign-form").addEventListener("submit", (event) => {
    event.preventDefault();
    signMonth();
  });
  $("pickers").addEventListener("submit", (event) => event.preventDefault());
  $("company").addEventListener("change", ({ target }) => pick({ company: target.value }));
  $("period").addEventListener("change", ({ target }) => {
    const { span } = session.shown ?? {};
    pick({ period: target.value, ...(target.value === "custom" && span ? { firstDay: span.first, lastDay: span.last } : {}) });
  });
  $("compare").addEventListener("change", ({ target }) => pick({ compare: target.value }));
  $("currency").addEventListener("change", ({ target }) => pick({ currency: target.value.trim().toUpperCase() }));
  $("time-zone").addEventListener("change", ({ target }) => pick({ timeZone: target.value.trim() }));
  const zones = ["UTC", ...(Intl.supportedValuesOf?.("timeZone") ?? [])];
  $("time-zones").replaceChildren(...zones.map((zone) => element("option", { value: zone })));
  for (const id of ["first-day", "last-day"]) $(id).addEventListener("change", pickDates);
  $("pause").addEventListener("click", ({ target }) => {
    session.paused = !session.paused;
    target.setAttribute("aria-pressed", session.paused);
    target.textContent = session.paused ? "Go on" : "Pause";
    if (!session.paused && session.waiting) {
      takeMessage(session.waiting);
      session.waiting = null;
    }
  });
  if (token.get()) signIn();
  else showSignIn();
}

start();
