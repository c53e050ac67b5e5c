// The operations of the API, as /openapi.json describes them: how each is asked, and what it answers.

import { $, element, table } from "./dom.js";

document.documentElement.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";

/** Follow a reference within the document. */
const resolve = (api, part) =>
  part?.$ref ? part.$ref.slice(2).split("/").reduce((found, key) => found[key], api) : part;

/** Texts as the document has them: what stands between backticks is code. */
const prose = (text = "") => text.split("`").map((part, index) => (index % 2 ? element("code", {}, part) : part));

/** The form of a value in a few words: `integer`, `"day" or "month"`, `date`. */
function form(api, schema = {}) {
  const found = resolve(api, schema);
  if (found.anyOf) return found.anyOf.filter((each) => each.type !== "null").map((each) => form(api, each)).join(" or ");
  if (found.enum) return found.enum.map((value) => JSON.stringify(value)).join(" or ");
  if ("const" in found) return JSON.stringify(found.const);
  if (found.type === "array") return `list of ${form(api, found.items)}`;
  return found.format ?? found.type ?? "any";
}

/** What a parameter or a field has to be: its description, the limits, and what counts without it. */
function meaning(description, schema = {}) {
  const limits = [
    "minimum" in schema && `at least ${schema.minimum}`,
    "maximum" in schema && schema.maximum < Number.MAX_SAFE_INTEGER && `at most ${schema.maximum}`,
    schema.default !== undefined && schema.default !== null && `${JSON.stringify(schema.default)} without it`,
  ].filter(Boolean);
  return [...prose(description), limits.length ? ` (${limits.join(", ")})` : null];
}

function parameters(api, operation) {
  if (!operation.parameters?.length) return null;
  const rows = operation.parameters.map((each) => [
    element("code", {}, each.name),
    each.required ? `${each.in}, required` : each.in,
    form(api, each.schema),
    element("span", {}, meaning(each.description ?? each.schema?.description, each.schema)),
  ]);
  const columns = ["Name", "In", "Form", "Meaning"].map((name) => ({ name }));
  return [element("h3", {}, "Parameters"), scrolled(table("Parameters", columns, rows))];
}

function body(api, operation) {
  const content = resolve(api, operation.requestBody)?.content;
  if (!content) return null;
  const fields = Object.values(content).map((each) => resolve(api, each.schema)).find((each) => each?.properties);
  const columns = ["Field", "Form", "Meaning"].map((name) => ({ name }));
  const rows = Object.entries(fields?.properties ?? {}).map(([name, schema]) => [
    element("code", {}, name),
    form(api, schema) + (fields.required?.includes(name) ? ", required" : ""),
    element("span", {}, meaning(schema.description, schema)),
  ]);
  return [
    element("h3", {}, "Body"),
    element("p", {}, Object.keys(content).join(", ")),
    rows.length ? scrolled(table("Fields of the body", columns, rows)) : null,
    example(Object.values(content)[0]),
  ];
}

function answers(api, operation) {
  const found = Object.entries(operation.responses).map(([status, each]) => [status, resolve(api, each)]);
  const columns = ["Status", "When", "As"].map((name) => ({ name }));
  const rows = found.map(([status, each]) => [status, each.description, Object.keys(each.content ?? {}).join(", ")]);
  const success = found.find(([status, each]) => status.startsWith("2") && each.content)?.[1];
  const shown = success && Object.values(success.content).find((each) => each.example !== undefined);
  return [element("h3", {}, "Answers"), scrolled(table("Answers", columns, rows)), example(shown)];
}

function example(content) {
  if (content?.example === undefined) return null;
  return element("pre", { tabindex: "0", "aria-label": "Example" }, JSON.stringify(content.example, null, 2));
}

const scrolled = (what) => element("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Table" }, what);

const method = (name) => element("span", { class: `method ${name}` }, name.toUpperCase());

function show(api) {
  $("title").textContent = `${api.info.title}, ${api.info.version}`;
  $("about").append(...prose(api.info.description.trim()));
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([name, operation]) => ({ path, name, operation, id: operation.operationId })),
  );
  // What applications ask comes before what serves documents, probes and mails.
  const isAsked = ({ path }) => path.startsWith("/analytics/");
  operations.sort((one, other) => isAsked(other) - isAsked(one));
  $("contents").append(
    element(
      "ul",
      {},
      operations.map(({ path, name, id }) => element("li", {}, method(name), element("a", { href: `#${id}` }, path))),
    ),
  );
  $("operations").append(
    ...operations.map(({ path, name, operation, id }) =>
      element(
        "section",
        { class: "card", id, "aria-labelledby": `${id}-title` },
        element("h2", { id: `${id}-title` }, method(name), element("code", {}, path)),
        element("p", {}, ...prose(operation.description), operation.security ? " Needs a token." : null),
        parameters(api, operation),
        body(api, operation),
        answers(api, operation),
      ),
    ),
  );
  $("operations").ariaBusy = "false";
  // It was not there yet when the browser looked for it.
  if (location.hash) $(location.hash.slice(1))?.scrollIntoView();
}

try {
  const answer = await fetch("openapi.json", { credentials: "omit" });
  if (!answer.ok) throw new Error(`openapi.json is answered ${answer.status}`);
  show(await answer.json());
} catch (error) {
  $("problem").textContent = `The description can't be shown: ${error.message}`;
  $("problem").hidden = false;
}
