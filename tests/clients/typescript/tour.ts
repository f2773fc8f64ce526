// The README's tour, by a client whose types openapi-typescript made from the OpenAPI document.

import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { operations, paths } from "./schema.js";

type Json<Response> = Response extends { content: infer Content } ? Content[keyof Content] : never;
type Responses<Operation extends keyof operations> = operations[Operation]["responses"];
type Refusal<Operation extends keyof operations> = Extract<
  Json<Responses<Operation>[keyof Responses<Operation>]>,
  { code: string }
>;

function never(code: never): never {
  throw new Error(`a code that the document does not list: ${JSON.stringify(code)}`);
}

// Each code of POST /login has its case: the compiler refuses a `switch` that misses one.
function explain(refusal: Refusal<"login">): string {
  switch (refusal.code) {
    case "invalid_credentials":
      return "Wrong address or password";
    case "second_factor_required":
      return `Prove one of ${refusal.methods.join(", ")} within ${refusal.expires_in} seconds`;
    case "validation_failed":
      return refusal.errors.map((error) => `${error.loc.join(".")}: ${error.msg}`).join("; ");
    case "content_too_large":
    case "unsupported_media_type":
      return "This client is broken";
    case "too_many_requests":
    case "hashing_busy":
    case "database_busy":
    case "database_unavailable":
    case "outcome_unknown":
    case "schema_missing":
    case "serialization_failure":
    case "stopped":
    case "takes_no_changes":
      return "Try again later";
    default:
      return never(refusal);
  }
}

const email = "typescript@example.com";
const password = "correct horse battery";
const baseUrl = process.argv[2];
const api = createClient<paths>({ baseUrl });
const asForm = { "Content-Type": "application/x-www-form-urlencoded" };
const logIn = (password: string) =>
  api.POST("/login", { headers: asForm, body: { username: email, password } });

const registered = await api.POST("/users", { body: { email, password, name: "Anna" } });
assert.equal(registered.response.status, 201);
assert.equal(registered.data?.email, email);

const refused = await logIn("wrong");
assert.ok(refused.error);
assert.equal(explain(refused.error), "Wrong address or password");
const malformed = await logIn("");
assert.ok(malformed.error);
assert.match(explain(malformed.error), /^body\.password: /);

const login = await logIn(password);
assert.ok(login.data);
const headers = { Authorization: `Bearer ${login.data.access_token}` };
const me = await api.GET("/users/me", { headers });
assert.deepEqual(me.data, registered.data);

const nonsense = await api.GET("/users/me", { headers: { Authorization: "Bearer nonsense" } });
assert.equal(nonsense.error?.code, "invalid_token");
assert.equal(nonsense.error.detail, "Could not validate credentials");

// begin: posts only
const body = { title: "Hello", content: "First post.", published: true };
const { data: post, response } = await api.POST("/posts", { headers, body });
assert.ok(post);
assert.equal(response.headers.get("Location"), `/posts/${post.id}`);
const path = { post_id: 10 ** 6 };
const missing = await api.GET("/posts/{post_id}", { headers, params: { path } });
assert.equal(missing.error?.code, "post_not_found");
const query = { q: "first*", sort: "top", limit: 1 } as const;
const found = await api.GET("/posts", { headers, params: { query } });
assert.deepEqual(found.data, [post]);
// end: posts only

console.log("The tour is over");
