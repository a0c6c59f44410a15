// A class: what somebody says is fine, and what that would change.

import { $, lines, post, recall, remember, send } from './api.js';
import { Box } from './box.js';
import { ask, digestNow, follow, onChange, say, takeBack } from './watch.js';

const { class: name, detector } = document.body.dataset;
const KEY = `nand:draft:${name}`;
const TYPED = 200;
const EMPTY = { text: '', phrases: '', like: [], unlike: [], asks: false, strength: 100 };

let draft = { ...EMPTY, ...JSON.parse(recall(sessionStorage, KEY) || '{}') };
let result = null; // of the last look at the draft as it is
let running = null;
let timer = 0;

// The draft.

const shown = () => [...draft.like.map((one) => ['like', one]), ...draft.unlike.map((one) => ['unlike', one])];
const isEmpty = () => !draft.text.trim() && !draft.like.length;
const sizes = { test: (key) => `/c/${encodeURIComponent(name)}/picture/${key}`, line: (key) => `/c/${encodeURIComponent(name)}/line/${key}`, sent: (key) => `/sent/${key}` };
const address = (one, size) => `${sizes[one.source](one.key)}/${size}.webp`;

function asDraft() {
  const bare = ({ source, key, box }) => ({ source, key, box: box || null });
  return {
    class: name,
    text: draft.text,
    phrases: draft.phrases.split('\n').map((line) => line.trim()).filter(Boolean),
    like: draft.like.map(bare),
    unlike: draft.unlike.map(bare),
    ask: draft.asks && draft.like.length > 0 && draft.text.trim() !== '', // what has no name yet says nothing
    strength: draft.strength / 100,
  };
}

function changed(live) {
  remember(sessionStorage, KEY, JSON.stringify(draft));
  render();
  result = null;
  accepts();
  clearTimeout(timer);
  running?.abort();
  if (isEmpty()) {
    $('answer').hidden = true;
    return;
  }
  $('answer').setAttribute('aria-busy', 'true');
  timer = setTimeout(() => look(live), live ? TYPED : 0);
}

function render() {
  const list = $('chosen');
  list.replaceChildren(...shown().map(([side, one]) => {
    const item = document.createElement('li');
    item.className = side;
    const image = document.createElement('img');
    image.src = address(one, 'small');
    image.alt = '';
    const told = document.createElement('span');
    told.textContent = `${side === 'like' ? 'fine' : 'stays rejected'}${one.box ? ', in a box' : ''}`;
    const open = document.createElement('button');
    open.type = 'button';
    open.className = 'open-chosen';
    open.append(image, told);
    open.setAttribute('aria-label', `${one.name}: ${told.textContent}; look at it`);
    open.addEventListener('click', () => view({ ...one, says: '', kind: '' }));
    const remove = document.createElement('button');
    remove.type = 'button';
    remove.className = 'remove';
    remove.textContent = '×';
    remove.setAttribute('aria-label', `Leave out ${one.name}`);
    remove.addEventListener('click', () => {
      choose(one, null);
      $('text').focus();
    });
    item.append(open, remove);
    return item;
  }));
  const keys = new Set(draft.like.map((one) => one.key));
  document.querySelectorAll('#tiles button.like').forEach((button) => {
    button.setAttribute('aria-pressed', keys.has(button.dataset.key));
  });
  $('examples-only').hidden = !draft.like.length;
  $('asks').checked = draft.asks;
  $('strength').value = draft.strength;
  $('strength-says').textContent = draft.strength === 100 ? 'fully' : `${draft.strength} %`;
  $('strength').setAttribute('aria-valuetext', $('strength-says').textContent);
  document.querySelector('label[for="text"]').textContent = draft.like.length ? 'A name for it, in a few words' : 'In a few words';
}

// An image is in one of both lists, or in none.
function choose(one, side, box = one.box) {
  for (const list of ['like', 'unlike']) draft[list] = draft[list].filter((other) => other.key !== one.key);
  if (side) draft[side].push({ source: one.source, key: one.key, name: one.name, box: box || null });
  changed(false);
  words();
}

// What would change.

async function look(live) {
  running?.abort();
  const own = running = new AbortController();
  $('answer').hidden = false;
  $('answer').setAttribute('aria-busy', 'true');
  $('result').classList.add('old');
  say('problem', '');
  const began = performance.now();
  try {
    await lines('/look', { draft: asDraft(), detector, live }, own.signal, (found) => {
      if (own !== running) return;
      if (found.error) {
        say('problem', `${found.error}`);
        $('result').replaceChildren();
      } else if (found.html) {
        replaceResult(found.html);
        fade();
        if (!result) {
          document.body.dataset.answered = Math.round(performance.now() - began);
          $('spoken').textContent = $('result').querySelector('.verdict-line').textContent;
        }
        result = found;
        accepts();
      } else {
        $('progress').hidden = found.of <= 100;
        Object.assign($('progress'), { max: found.of, value: found.done });
      }
    });
  } catch (error) {
    if (error.name !== 'AbortError') say('problem', 'the page does not answer: is it still running?');
  }
  if (own === running) {
    running = null;
    $('progress').hidden = true;
    $('answer').removeAttribute('aria-busy');
    document.body.dataset.looked = Number(document.body.dataset.looked || 0) + 1;
  }
}

// What is open stays open, and the focus stays where it was.
function replaceResult(html) {
  const same = (one) => one.dataset.key || one.firstChild?.textContent.trim();
  const all = (selector) => [...$('result').querySelectorAll(selector)];
  const open = all('details[open] > summary').map(same);
  const focused = $('result').contains(document.activeElement) && same(document.activeElement);
  $('result').innerHTML = html;
  all('details > summary').forEach((one) => { one.parentElement.open = open.includes(same(one)); });
  if (focused) (all('summary, .open').find((one) => same(one) === focused) || $('answer')).focus();
  $('result').classList.remove('old');
}

function accepts() {
  const named = draft.text.trim();
  $('accept').disabled = isEmpty() || !named || !result?.whole;
  const why = isEmpty() ? 'First say what is fine.' : !named ? 'Give it a name first: a few words.' : !result?.whole ? '' : result.asks ? 'It lets other faults through: you will be asked.' : '';
  say('accept-why', why);
}

async function words() {
  const text = draft.text;
  const said = text.trim() && !(draft.like.length && !draft.asks) ? await post('/words', { text: `${text} ${draft.phrases}` }) : {};
  if (text !== draft.text) return;
  const unknown = new Set(said.unknown || []);
  const parts = text.split(/([A-Za-z]+)/).map((part) => {
    if (!unknown.has(part.toLowerCase())) return part;
    const mark = document.createElement('mark');
    mark.textContent = part;
    return mark;
  });
  $('words').replaceChildren(...(unknown.size ? ['Not known to the model, has no effect: ', ...parts] : []));
}

let sending = false; // the button is not disabled meanwhile: it would lose the focus

async function accept() {
  if (sending) return;
  const agreed = result?.asks ? result.agreement : '';
  if (result?.asks && !(await ask(result.question))) return;
  sending = true;
  const said = await post('/accept', { draft: asDraft(), digest: digestNow(), who: $('who').value.trim(), agreed });
  sending = false;
  if (said.error) {
    say('problem', said.error);
    $('answer').hidden = false;
  } else follow(said.number);
}

onChange(({ work, own }) => {
  if (work && own && work.step === 'done' && work.what === 'add' && work.class === name) {
    try { sessionStorage.removeItem(KEY); } catch { /* as above */ }
    location.replace(location.pathname + location.search.replace(/[?&]like=[0-9a-f]*/, ''));
    return;
  }
  if (work && own && work.step === 'done') {
    location.reload();
    return;
  }
  if (work) {
    accepts();
    return;
  }
  // Somebody else was faster: what is here stays, what it would do is another matter now.
  const link = document.createElement('a');
  link.href = location.href;
  link.textContent = 'Show the images as they are judged now';
  $('meanwhile').replaceChildren('What is fine has changed meanwhile. What you entered is kept. ', link);
  $('meanwhile').hidden = false;
  if (!isEmpty()) look(false);
});

// The form.

$('text').addEventListener('input', () => {
  draft.text = $('text').value;
  changed(true);
  clearTimeout(words.timer);
  words.timer = setTimeout(words, 150);
});
$('phrases').addEventListener('input', () => { draft.phrases = $('phrases').value; changed(true); });
$('strength').addEventListener('input', () => { draft.strength = Number($('strength').value); changed(true); });
$('asks').addEventListener('change', () => { draft.asks = $('asks').checked; changed(false); words(); });
$('say').addEventListener('submit', (event) => {
  event.preventDefault();
  changed(false);
  if (!isEmpty()) $('answer').hidden = false;
  $('answer').scrollIntoView({ block: 'nearest' });
});
$('accept').addEventListener('click', accept);
$('who').value = recall(localStorage, 'nand:who') || '';
$('who').addEventListener('input', () => remember(localStorage, 'nand:who', $('who').value.trim()));
$('detector').addEventListener('change', () => {
  remember(sessionStorage, 'nand:judge', 'yes');
  $('detector').form.submit();
});
if (recall(sessionStorage, 'nand:judge')) $('detector').focus();
remember(sessionStorage, 'nand:judge', '');
$('judge').hidden = true;
document.querySelectorAll('button.back').forEach((button) => {
  button.addEventListener('click', () => takeBack({ class: name, text: button.dataset.text }, button));
});
$('file').addEventListener('change', async () => {
  for (const file of $('file').files) {
    say('problem', '');
    const answer = await send(`/sent?name=${encodeURIComponent(file.name)}`, file).then((one) => one.text()).catch(() => '');
    let said;
    try { said = JSON.parse(answer); } catch { said = { error: answer || 'it could not be sent' }; }
    if (said.error) {
      $('answer').hidden = false;
      say('problem', said.error);
    } else choose({ source: 'sent', key: said.key, name: file.name }, 'like');
  }
  $('file').value = '';
});

// The images.

const testImage = (button) => ({ source: 'test', ...button.dataset });

document.addEventListener('click', (event) => {
  const like = event.target.closest('#tiles button.like');
  const open = event.target.closest('button.open');
  if (like) {
    const one = testImage(like.closest('.tile').querySelector('.open'));
    choose(one, like.getAttribute('aria-pressed') === 'true' ? null : 'like');
  } else if (open) view(testImage(open));
});

async function more(link) {
  if (link.dataset.asked) return;
  link.dataset.asked = 'yes';
  const answer = await fetch(link.href);
  if (!answer.ok) return;
  const made = document.createElement('template');
  made.innerHTML = await answer.text();
  const item = link.closest('li');
  const [first, focused] = [made.content.querySelector('.open'), document.activeElement === link];
  item.replaceWith(made.content);
  if (focused) first.focus();
  render();
  watchMore();
}

const near = new IntersectionObserver((found) => {
  found.filter((one) => one.isIntersecting).forEach((one) => more(one.target));
}, { rootMargin: '800px' });

function watchMore() {
  document.querySelectorAll('#tiles .more a').forEach((link) => {
    near.observe(link);
    link.addEventListener('click', (event) => { event.preventDefault(); more(link); });
  });
}

function fade() {
  document.querySelectorAll('.shows').forEach((one) => one.style.setProperty('--fade', $('fade').value / 100));
  $('viewer').style.setProperty('--fade', $('viewer-fade').value / 100);
}

for (const id of ['fade', 'viewer-fade']) {
  $(id).value = recall(localStorage, 'nand:fade') ?? 50;
  $(id).addEventListener('input', () => {
    $('fade').value = $('viewer-fade').value = $(id).value;
    remember(localStorage, 'nand:fade', $(id).value);
    fade();
  });
}

// One image.

let viewed = null;
const box = new Box($('stage'), $('frame'), (id) => $(`box-${id}`), (value, problem = '') => {
  say('box-problem', problem);
  $('viewer-like').textContent = value ? 'What is in the box is fine' : 'This is fine';
});

async function view(one) {
  viewed = one;
  $('viewer-name').textContent = one.name;
  $('viewer-says').textContent = [one.kind, one.says].filter(Boolean).join(', ');
  $('viewer-over').hidden = !one.number;
  if (one.number) $('viewer-over').src = `/c/${encodeURIComponent(name)}/overlay/${encodeURIComponent(detector)}/${one.number}.png?of=${digestNow().slice(0, 8)}`;
  else $('viewer-over').removeAttribute('src');
  $('viewer-image').src = address(one, 'large');
  box.reset([0, 0]);
  if (!$('viewer').open) $('viewer').showModal();
  const size = await fetch(`${address(one, 'large').replace('large.webp', 'size')}`).then((answer) => answer.json()).catch(() => null);
  const known = shown().find(([, other]) => other.key === one.key);
  if (viewed === one && size?.width) {
    $('stage').style.setProperty('--ratio', size.width / size.height);
    box.reset([size.width, size.height], known?.[1].box || null);
  }
}

const finish = (side) => () => {
  if (!$('box-problem').hidden) return;
  choose(viewed, side, box.value);
  $('viewer').close();
};
$('viewer-like').addEventListener('click', finish('like'));
$('viewer-unlike').addEventListener('click', finish('unlike'));
$('viewer-close').addEventListener('click', () => $('viewer').close());
$('box-none').addEventListener('click', () => box.set(null));

// From the line: its image comes along.
const fromLine = new URLSearchParams(location.search).get('like');
if (/^[0-9a-f]{16}$/.test(fromLine || '') && !shown().some(([, one]) => one.key === fromLine)) {
  draft.like.push({ source: 'line', key: fromLine, name: `an image of the line (${fromLine.slice(0, 6)})`, box: null });
  history.replaceState(null, '', location.pathname);
}

$('text').value = draft.text;
$('phrases').value = draft.phrases;
fade();
watchMore();
changed(false);
if (draft.text) words();
