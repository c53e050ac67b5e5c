// The periods that can be picked, as calendar days, both inclusive, and what they are compared with. A day is a date at
// midnight of UTC, whatever the time zone is that it is a day of: which instants it holds, the server knows.

export const PERIODS = {
  "latest-month": "Latest month with data",
  "this-month": "This month",
  "last-month": "Last month",
  "this-quarter": "This quarter",
  "last-quarter": "Last quarter",
  "this-year": "This year",
  "last-year": "Last year",
  "last-30-days": "Last 30 days",
  "last-12-months": "Last 12 months",
  custom: "Own dates",
};

export const COMPARISONS = { previous: "Period before", year: "Same period a year before", none: "Nothing" };

/** The day that an instant is in a time zone; of a zone that this browser doesn't know, that of UTC. */
export function dayIn(timeZone, instant) {
  try {
    const parts = new Intl.DateTimeFormat("en-US", { timeZone, year: "numeric", month: "numeric", day: "numeric" }).formatToParts(instant);
    const [year, month, day] = ["year", "month", "day"].map((name) => Number(parts.find((part) => part.type === name).value));
    return new Date(Date.UTC(year, month - 1, day));
  } catch {
    return new Date(iso(instant));
  }
}

/** The first and last day of a period. `newestDay` is the day of the newest event, null without any, `today` today. */
export function days(name, { today, newestDay, firstDay, lastDay }) {
  const [year, month] = [today.getUTCFullYear(), today.getUTCMonth()];
  const quarter = month - (month % 3);
  switch (name) {
    case "latest-month": {
      const newest = newestDay ? new Date(Math.min(newestDay, today)) : today;
      return months(newest.getUTCFullYear(), newest.getUTCMonth(), 1);
    }
    case "last-month":
      return months(year, month - 1, 1);
    case "this-quarter":
      return months(year, quarter, 3);
    case "last-quarter":
      return months(year, quarter - 3, 3);
    case "this-year":
      return months(year, 0, 12);
    case "last-year":
      return months(year - 1, 0, 12);
    case "last-30-days":
      return { first: iso(addDays(today, -29)), last: iso(today) };
    case "last-12-months":
      return months(year, month - 11, 12);
    case "custom":
      return { first: firstDay, last: lastDay };
    default:
      return months(year, month, 1);
  }
}

/** What a period is compared with, as DEFINITIONS say: whole months with as many months, else as many days. */
export function comparison(name, { first, last }) {
  if (name === "none") return null;
  const [start, end] = [new Date(first), new Date(last)];
  if (isWholeMonths(start, end)) {
    const length = monthCount(start, end);
    return months(start.getUTCFullYear(), start.getUTCMonth() - (name === "year" ? 12 : length), length);
  }
  if (name === "year") return { first: iso(yearBefore(start)), last: iso(yearBefore(end)) };
  const length = dayCount({ first, last });
  return { first: iso(addDays(start, -length)), last: iso(addDays(start, -1)) };
}

/** The whole months, `length` of them, that end with the month of a day. */
export function monthsUpTo(day, length) {
  const end = new Date(day);
  return months(end.getUTCFullYear(), end.getUTCMonth() - length + 1, length);
}

export function dayCount({ first, last }) {
  return Math.round((new Date(last) - new Date(first)) / 86_400_000) + 1;
}

/** Tell whether a period is one calendar month. */
export function isMonth({ first, last }) {
  return isWholeMonths(new Date(first), new Date(last)) && first.slice(0, 7) === last.slice(0, 7);
}

/** Days up to two, hours; up to a quarter, days; else months, for which a period is widened to whole ones. */
export function series({ first, last }) {
  const length = dayCount({ first, last });
  if (length <= 92) return { interval: length <= 2 ? "hour" : "day", first, last };
  const [start, end] = [new Date(first), new Date(last)];
  return { interval: "month", ...months(start.getUTCFullYear(), start.getUTCMonth(), monthCount(start, end)) };
}

export function holds({ first, last }, day) {
  return first <= iso(day) && iso(day) <= last;
}

export function iso(date) {
  return date.toISOString().slice(0, 10);
}

function months(year, month, length) {
  return { first: iso(new Date(Date.UTC(year, month, 1))), last: iso(new Date(Date.UTC(year, month + length, 0))) };
}

function isWholeMonths(start, end) {
  return start.getUTCDate() === 1 && addDays(end, 1).getUTCDate() === 1;
}

function monthCount(start, end) {
  return (end.getUTCFullYear() - start.getUTCFullYear()) * 12 + end.getUTCMonth() - start.getUTCMonth() + 1;
}

/** The same day a year before; of 29 February the 28th. */
function yearBefore(date) {
  const [year, month] = [date.getUTCFullYear() - 1, date.getUTCMonth()];
  const lastOfMonth = new Date(Date.UTC(year, month + 1, 0)).getUTCDate();
  return new Date(Date.UTC(year, month, Math.min(date.getUTCDate(), lastOfMonth)));
}

function addDays(date, number) {
  return new Date(date.getTime() + number * 86_400_000);
}
