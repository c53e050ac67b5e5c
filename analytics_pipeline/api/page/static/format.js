// Numbers and dates as people of the browser's language read them.
//
// Figures arrive as decimal texts (`numbers=string`): Intl formats a text with all of its digits, a JavaScript number
// has 15 of them. Only charts and changes turn one into a number.

const NONE = "–";

/** The text of an amount such as "15000.00" with its currency: the digits shown are those that it has. */
export function money(amount, currency) {
  if (amount === null || amount === undefined) return NONE;
  const digits = decimals(amount);
  const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  if (/^[A-Z]{3}$/.test(currency)) return format(amount, { ...options, style: "currency", currency });
  return `${format(amount, options)} ${currency}`;
}

/** An amount with its sign, for what moved a figure. */
export function signedMoney(amount, currency) {
  const text = String(amount);
  const shown = money(text.replace("-", ""), currency);
  if (Number(text) === 0) return shown;
  // A word joiner keeps the sign and the amount in one line.
  return `${text.startsWith("-") ? "−" : "+"}\u2060${shown}`;
}

/** A short amount for an axis. */
export function shortMoney(amount, currency) {
  const options = { notation: "compact", maximumFractionDigits: 1 };
  if (/^[A-Z]{3}$/.test(currency)) return format(amount, { ...options, style: "currency", currency });
  return format(amount, options);
}

export function count(number) {
  return number === null || number === undefined ? NONE : format(number, { maximumFractionDigits: 0 });
}

/** A rate in per cent, which answers round to one place. */
export function percent(rate, { signed = false } = {}) {
  if (rate === null || rate === undefined) return NONE;
  return format(rate, {
    style: "unit",
    unit: "percent",
    minimumFractionDigits: 1,
    maximumFractionDigits: 1,
    signDisplay: signed ? "exceptZero" : "auto",
  });
}

/** The difference of two rates, in percentage points. */
export function points(difference) {
  return `${format(difference, { minimumFractionDigits: 1, maximumFractionDigits: 1, signDisplay: "exceptZero" })} points`;
}

/** The change between two figures in per cent, null where there is none: nothing before, or less than nothing. */
export function change(now, before) {
  if (now === null || now === undefined || before === null || before === undefined) return null;
  return Number(before) > 0 ? ((Number(now) - Number(before)) / Number(before)) * 100 : null;
}

/** A period of calendar days, both inclusive, such as "November 2026" or "2–30 November 2026". */
export function period(first, last) {
  const isWholeMonths = first.endsWith("-01") && new Date(utc(last).getTime() + 86_400_000).getUTCDate() === 1;
  const isOneMonth = first.slice(0, 7) === last.slice(0, 7);
  const parts = isWholeMonths ? { year: "numeric", month: isOneMonth ? "long" : "short" } : { dateStyle: "medium" };
  return formatter({ ...parts, timeZone: "UTC" }).formatRange(utc(first), utc(last));
}

/** The start of a bucket of a series: a day or a month as it is written, an hour on the clocks of a time zone. */
export function bucket(start, interval, timeZone = "UTC") {
  const parts = {
    hour: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" },
    day: { day: "numeric", month: "short" },
    month: { month: "short", year: "numeric" },
  }[interval];
  const zoned = (zone) => formatter({ ...parts, timeZone: zone }).format(utc(start));
  try {
    return zoned(interval === "hour" ? timeZone : "UTC");
  } catch {
    return `${zoned("UTC")} UTC`;
  }
}

export function instant(text) {
  return text ? formatter({ dateStyle: "medium", timeStyle: "short", timeZone: "UTC" }).format(utc(text)) + " UTC" : NONE;
}

export function clock(date) {
  return formatter({ timeStyle: "medium" }).format(date);
}

/** "payment.received" as "Payment received", "feature.tax_report" as "Feature: tax report". */
export function eventType(name) {
  const words = name.replace(/^feature\./, "feature: ").replace(/[._]+/g, " ").trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function utc(text) {
  // "2026-11" and "2026-11-05" are UTC by themselves, "2026-11-05T10:00Z" says so.
  return new Date(text);
}

function decimals(amount) {
  const [, fraction = ""] = String(amount).split(".");
  return fraction.length;
}

const numberFormats = new Map();
const dateFormats = new Map();

function format(number, options) {
  const key = JSON.stringify(options);
  if (!numberFormats.has(key)) numberFormats.set(key, new Intl.NumberFormat(undefined, options));
  return numberFormats.get(key).format(number);
}

function formatter(options) {
  const key = JSON.stringify(options);
  if (!dateFormats.has(key)) dateFormats.set(key, new Intl.DateTimeFormat(undefined, options));
  return dateFormats.get(key);
}

const names = new Map();

/** Remember what companies are called. */
export function nameCompanies(companies) {
  for (const { companyId, companyName } of companies) names.set(companyId, companyName);
}

/** What a company is called: by its id where it has no name, or is not known here; null is all of them. */
export const companyName = (companyId, all = "All companies") => (companyId === null ? all : names.get(companyId) ?? companyId);
