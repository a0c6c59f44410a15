// Talking to the page's server: every post brings the token that only this page knows.

const token = document.querySelector('meta[name="form-token"]').content;

export function send(path, body, options = {}) {
  const json = !(body instanceof Blob);
  return fetch(path, {
    method: 'POST',
    headers: { 'x-nand-token': token, 'content-type': json ? 'application/json' : 'application/octet-stream' },
    body: json ? JSON.stringify(body) : body,
    ...options,
  });
}

// The answer as an object; with `error` in it where something is wrong, whatever it is.
export async function post(path, body) {
  try {
    const answer = await send(path, body);
    if (answer.redirected) return { error: 'you are logged out: load the page again, your words stay' };
    const text = await answer.text();
    try {
      return JSON.parse(text);
    } catch {
      return { error: text || `it did not work (${answer.status})` };
    }
  } catch {
    return { error: 'the page does not answer: is it still running?' };
  }
}

// The lines of an answer as they come.
export async function lines(path, body, signal, each) {
  const answer = await send(path, body, { signal });
  if (!answer.ok) {
    const text = await answer.text();
    let error = text;
    try { error = JSON.parse(text).error; } catch { /* plain text */ }
    each({ error });
    return;
  }
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const parts = (rest + value).split('\n');
    rest = parts.pop();
    parts.filter(Boolean).forEach((part) => each(JSON.parse(part)));
  }
}

export const $ = (id) => document.getElementById(id);

// Storage may be full, or not allowed: then nothing is remembered.
export function remember(store, key, value) {
  try { store.setItem(key, value); } catch { /* as if it had never been */ }
}

export function recall(store, key) {
  try { return store.getItem(key); } catch { return null; }
}
