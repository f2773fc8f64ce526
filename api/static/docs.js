"use strict";

// This file is always at <root>/docs/docs.js, whatever address led to the page.
const root = new URL("..", document.currentScript.src).pathname;

// Swagger UI resolves the token URL ("login") against the page's own address. The page also answers
// at /docs/, where that would become /docs/login.
history.replaceState(null, "", `${root}docs${location.hash}`);

SwaggerUIBundle({
  dom_id: "#swagger-ui",
  url: `${root}openapi.json`,
  deepLinking: true,
  validatorUrl: null, // the default asks a foreign host
});
