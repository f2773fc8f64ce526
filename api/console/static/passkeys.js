// The two ceremonies of passkeys (Web Authentication Level 3, sections 5.1.3 and 5.1.4), and
// nothing else: every other page works without scripts.
//
// A form with data-passkey="create" or "get" asks the address in data-options for options, has
// the browser make or use a passkey, and is sent with what that gave as its field `credential`.
"use strict";

const isSupported =
  window.PublicKeyCredential !== undefined &&
  PublicKeyCredential.parseCreationOptionsFromJSON !== undefined &&
  PublicKeyCredential.parseRequestOptionsFromJSON !== undefined;

const ceremonies = {
  create: (options) =>
    navigator.credentials.create({
      publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options),
    }),
  get: (options) =>
    navigator.credentials.get({
      publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options),
    }),
};

const FAILED = "That did not work. Reload the page and try again.";
const messages = {
  NotAllowedError: "No passkey was used. Try again when you are ready.",
  InvalidStateError: "This device has a passkey of your account already.",
  NotSupportedError: "This device cannot make a passkey of the kind that is needed here.",
};

function messageOf(error, options) {
  if (error.name === "SecurityError") {
    const site = options.rpId ?? options.rp.id;
    return `Passkeys belong to the site ${site}, and this page is at ${location.hostname}.`;
  }
  return messages[error.name] ?? FAILED;
}

/** The options, or null if the browser goes to another page instead. Throws a text to show. */
async function fetchOptions(form) {
  let answer;
  try {
    answer = await fetch(form.dataset.options, { method: "POST" });
  } catch {
    throw "The service does not answer. Try again in a moment.";
  }
  const body = await answer.json();
  if (answer.ok) {
    return body;
  }
  if (body.code === "stale_login") {
    location.assign(form.dataset.proof);
    return null;
  }
  throw body.detail;
}

async function run(form) {
  const options = await fetchOptions(form);
  if (options === null) {
    return;
  }
  let credential;
  try {
    credential = await ceremonies[form.dataset.passkey](options);
  } catch (error) {
    throw messageOf(error, options);
  }
  form.elements.credential.value = JSON.stringify(credential);
  form.submit();
}

for (const element of document.querySelectorAll("[data-without-passkeys]")) {
  element.hidden = isSupported;
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  const button = form.querySelector("button");
  const said = form.querySelector("[role=alert]");
  form.hidden = !isSupported;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    said.textContent = "";
    button.disabled = true;
    try {
      await run(form);
    } catch (problem) {
      said.textContent = typeof problem === "string" ? problem : FAILED;
    }
    button.disabled = false;
  });
}
