// The only way from the page to the server: the read API, with the token that this tab keeps.

const KEY = "analytics-token";

export const token = {
  get: () => sessionStorage.getItem(KEY),
  keep: (text) => sessionStorage.setItem(KEY, text),
  forget: () => sessionStorage.removeItem(KEY),
};

/** An answer that is no figure: `status` 401 asks for a token, 0 means that the server can't be reached. */
export class Problem extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/** Ask for JSON; parameters without a value are left out. Raises `Problem`. */
export async function ask(path, parameters = {}, signal = undefined) {
  return (await request(path, { parameters, signal })).json();
}

/** Ask with a method; `body`, where there is one, is sent as JSON. */
export async function request(path, { method = "GET", parameters = {}, signal = undefined, body = undefined } = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const query = new URLSearchParams(given).toString();
  let response;
  try {
    response = await fetch(`analytics/${path}${query ? `?${query}` : ""}`, {
      method,
      signal,
      headers: { Authorization: `Bearer ${token.get()}`, ...(body ? { "Content-Type": "application/json" } : {}) },
      body: body && JSON.stringify(body),
      // The browser asks with the ETag it has, and 304 saves the body.
      cache: "no-cache",
      credentials: "omit",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "The server can't be reached. Check the connection, then try again.");
  }
  if (response.ok) return response;
  if (response.status === 401) throw new Problem(401, "The token is not valid, or not any more.");
  const said = await response.json().catch(() => ({}));
  throw new Problem(response.status, said.detail ?? said.title ?? `The server answered ${response.status}.`);
}
