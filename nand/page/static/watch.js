// What happens meanwhile: somebody else's change, how far the own one is, and what it asks.

import { $, post, recall, remember } from './api.js';

const STEPS = {
  waiting: 'is waiting for its turn',
  checking: 'is being checked',
  computing: 'is being computed',
  recording: 'is being written down',
  asking: 'has a question',
  ending: 'is being ended',
};
const NEXT = { idle: 4000, busy: 700 };
const listeners = [];
let digest = document.body.dataset.digest || '';
let seen = recall(sessionStorage, 'nand:seen'); // null in a new window: what ended before it is no news
let asked = 0;
let mine = Number(recall(sessionStorage, 'nand:mine') || 0);

export const digestNow = () => digest;
export const onChange = (call) => listeners.push(call);

// A change that was started here: followed until it ends.
export function follow(number) {
  mine = number;
  settle(number - 1);
  remember(sessionStorage, 'nand:mine', number);
  look();
}

export function say(id, text) {
  $(id).hidden = !text;
  if ($(id).textContent !== text) $(id).textContent = text;
}

function named(work) {
  if (work.what === 'undo') return `undoing number ${work.entry}`;
  const name = `${work.class}: “${work.text}”`;
  return work.what === 'add' ? name : `taking back ${name}`;
}

function by(work) {
  return work.number === mine || !work.who ? '' : ` (by ${work.who})`;
}

function show(work) {
  if (!work) return;
  const own = work.number === mine;
  if (!work.over) {
    $('work').classList.add('busy');
    say('work', `${named(work)} ${STEPS[work.step] || work.step}${by(work)} …`);
    settle(seen ?? 0);
  } else if (seen === null) {
    settle(work.number);
  } else if (work.number > seen) {
    settle(work.number);
    const failed = work.step === 'failed';
    const text = failed ? `${named(work)}: not done. ${work.message}` : `${named(work)}: done${by(work)}`;
    tell(text, failed);
    if (own && !failed) remember(sessionStorage, 'nand:told', text); // the page is loaded anew with it
    listeners.forEach((call) => call({ work, own, digest }));
  }
}

function settle(number) {
  seen = Number(number);
  remember(sessionStorage, 'nand:seen', seen);
}

function tell(text, failed = false) {
  $('work').classList.remove('busy');
  $('work').classList.toggle('failed', failed);
  say('work', text);
}

async function question(work) {
  const mayAsk = work && work.step === 'asking' && work.number === mine && asked !== work.number;
  if (!mayAsk) return;
  const answer = await fetch(`/question/${work.number}`);
  if (!answer.ok) return;
  asked = work.number;
  const yes = await ask(await answer.text());
  const said = await post('/answer', { number: work.number, agreed: yes });
  if (said.error) say('work', said.error);
}

// A dialog that the server wrote; whether somebody says yes.
export function ask(html) {
  const dialog = $('ask');
  dialog.innerHTML = html;
  return new Promise((resolve) => {
    dialog.returnValue = '';
    dialog.querySelectorAll('[data-answer]').forEach((button) => {
      button.addEventListener('click', () => dialog.close(button.dataset.answer));
    });
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
    dialog.showModal();
  });
}

let timer = 0;
let looking = false;

async function look() {
  clearTimeout(timer);
  if (looking) return;
  looking = true;
  let next = NEXT.idle;
  try {
    const answer = await fetch('/state', { headers: { accept: 'application/json' } });
    if (answer.ok && !answer.redirected) {
      const state = await answer.json();
      show(state.work);
      await question(state.work);
      if (digest && state.digest !== digest) {
        digest = state.digest;
        listeners.forEach((call) => call({ digest }));
      }
      if (state.work && !state.work.over) next = NEXT.busy;
    }
  } catch { /* the server is away: asked again */ }
  looking = false;
  timer = setTimeout(look, document.hidden ? 4 * next : next);
}

// The log's buttons, and those that take back what is fine.
export async function takeBack(body, button) {
  if (button.dataset.sent) return;
  button.dataset.sent = 'yes'; // disabled it would lose the focus
  const said = await post('/back', { digest, who: recall(localStorage, 'nand:who') || '', ...body });
  delete button.dataset.sent;
  if (said.error) tell(said.error, true);
  else follow(said.number);
}

const told = recall(sessionStorage, 'nand:told');
if (told) {
  tell(told);
  remember(sessionStorage, 'nand:told', '');
}

document.querySelectorAll('button.undo').forEach((button) => {
  button.addEventListener('click', () => takeBack({ entry: Number(button.dataset.entry) }, button));
});
if (document.querySelector('ol.log')) onChange(() => location.reload());

document.addEventListener('visibilitychange', () => { if (!document.hidden) look(); });
look();
