'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const PHONE = 375, DESK = 660;
const key = (m) => [m.step, m.arm, m.locale, m.person].join('/');
// What is shown survives a reload in the address of the page.
const state = Object.assign({ scheme: 'light', mail: '', tab: 'Text', step: '', locale: '', person: '' },
  Object.fromEntries(new URLSearchParams(location.hash.slice(1))));

function el(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [k, v] of Object.entries(attributes || {})) {
    if (k.startsWith('on')) node.addEventListener(k.slice(2), v);
    else if (v !== undefined && v !== null && v !== false) node.setAttribute(k, v);
  }
  node.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

function set(change) {
  Object.assign(state, change);
  const kept = Object.entries(state).filter(([, v]) => v);
  history.replaceState(null, '', '#' + new URLSearchParams(kept));
  draw();
}

// A mail as it looks by day or in the dark, whatever the reader's own screen prefers, with a grey field for each picture that is elsewhere.
function dressed(html, scheme) {
  const is = (wanted) => (wanted.toLowerCase() === scheme ? '(min-width: 0)' : '(max-width: 0)');
  const field = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' width='600' height='400'%3E%3Crect width='100%25' height='100%25' fill='%23b9b2a6'/%3E%3Cpath d='M0 400L230 130l140 170 80-80 150 180z' fill='%239d9588'/%3E%3C/svg%3E";
  return '<base target="_blank">' + html
    .replace(/\(\s*prefers-color-scheme\s*:\s*(dark|light)\s*\)/gi, (_, wanted) => is(wanted))
    .replace(/(<img\b[^>]*?\bsrc=)(["'])https?:[^"']*\2/gi, (_, start) => `${start}"${field}"`);
}

// At least `width` wide inside, and drawn smaller where there is less room.
function frame(mail, grows, width) {
  const node = el('iframe', { sandbox: 'allow-same-origin', title: mail.subject, tabindex: grows ? null : '-1', style: `color-scheme:${state.scheme}` });
  node.srcdoc = dressed(mail.html, state.scheme);
  if (grows) {
    const fit = () => {
      const by = Math.min(1, node.parentNode.clientWidth / width);
      node.style.width = by < 1 ? width + 'px' : '100%';
      node.style.height = '10px';
      const high = node.contentDocument.documentElement.scrollHeight;
      node.style.height = high + 'px';
      node.style.transform = by < 1 ? `scale(${by})` : '';
      node.parentNode.style.height = by < 1 ? high * by + 'px' : '';
    };
    node.addEventListener('load', fit);
    window.addEventListener('resize', () => node.isConnected && node.contentDocument && fit());
  }
  return node;
}

const kb = (bytes) => (bytes / 1000).toFixed(1) + ' kB';
const choose = (label, name, values, text) => values.length > 1 && el('div', { class: 'chips', role: 'group', 'aria-label': label },
  [['', 'all ' + label], ...values.map((v) => [v, text ? text(v) : v])].map(([v, t]) =>
    el('button', { 'aria-pressed': String(state[name] === v), onclick: () => set({ [name]: v }) }, t)));
const either = (label, name, values) => el('div', { class: 'switch', role: 'group', 'aria-label': label },
  values.map((v) => el('button', { 'aria-pressed': String(state[name] === v.toLowerCase() || state[name] === v), onclick: () => set({ [name]: name === 'scheme' ? v.toLowerCase() : v }) }, v)));
const distinct = (name) => [...new Set(data.mails.map((m) => m[name]))];

function card(mail) {
  const told = data.problems.filter((p) => p.file === mail.file).length;
  const head = el('span', { class: 'who' }, el('b', {}, mail.person), mail.locale,
    el('span', { class: 'at' }, mail.html ? kb(mail.htmlBytes) : '', told ? ` · ${told} to look at` : ''));
  if (!mail.html) {
    return el('div', { class: 'card' }, head, el('div', { class: 'inbox' }, el('div', { class: 'subject' }, mail.skipped ? 'No mail' : 'Cannot be rendered')),
      el('div', { class: 'note' + (mail.failed ? ' bad' : '') }, mail.skipped || mail.failed, mail.hint ? el('p', {}, mail.hint) : null));
  }
  const thumb = el('div', { class: 'thumb' });
  const node = el('button', { class: 'card', onclick: () => { set({ mail: key(mail) }); scrollTo(0, 0); } }, head,
    el('span', { class: 'inbox' }, el('span', { class: 'subject' }, mail.subject), el('span', { class: 'pre', style: 'display:block' }, mail.preheader)), thumb);
  // A frame is made when it comes near the screen.
  new IntersectionObserver((seen, watch) => {
    if (!seen.some((s) => s.isIntersecting)) return;
    watch.disconnect();
    const inner = frame(mail, false);
    const scale = () => { const by = thumb.clientWidth / DESK; inner.style.transform = `scale(${by})`; inner.style.height = 330 / by + 'px'; };
    thumb.append(inner);
    scale();
    new ResizeObserver(scale).observe(thumb);
  }, { rootMargin: '600px' }).observe(thumb);
  return node;
}

function wall() {
  const shown = data.mails.filter((m) => ['step', 'locale', 'person'].every((n) => !state[n] || m[n] === state[n]));
  const groups = new Map();
  for (const m of shown) {
    const name = m.step + '\n' + m.arm;
    groups.set(name, [...(groups.get(name) || []), m]);
  }
  return [
    choose('steps', 'step', distinct('step')), choose('languages', 'locale', distinct('locale')), choose('people', 'person', distinct('person')),
    ...[...groups].map(([name, mails]) => {
      const [step, arm] = name.split('\n');
      return el('section', { class: 'group' }, el('h2', {}, step, el('span', {}, [arm && `arm ${arm}`, mails[0].file].filter(Boolean).join(' · '))),
        el('div', { class: 'wall' }, mails.map(card)));
    }),
    data.problems.length > 0 && el('section', { class: 'group' }, el('h2', {}, 'To look at'), problems(data.problems)),
  ];
}

const problems = (list) => el('ul', { class: 'problems' }, list.map((p) => el('li', { class: p.severity },
  el('span', { class: 'at' }, p.line ? `${p.file}:${p.line}:${p.column}` : p.file), el('b', {}, p.code), ' ', p.message, p.hint && el('span', { class: 'hint' }, p.hint))));

function one(mail) {
  const mails = data.mails.filter((m) => m.html);
  const at = mails.indexOf(mail);
  const go = (by) => set({ mail: key(mails[(at + by + mails.length) % mails.length]) });
  onkeydown = (e) => { if (e.key === 'ArrowRight') go(1); if (e.key === 'ArrowLeft') go(-1); if (e.key === 'Escape') set({ mail: '' }); };
  const dark = /prefers-color-scheme/i.test(mail.html);
  const near = [...data.problems].sort((a, b) => (b.file === mail.file) - (a.file === mail.file));
  const share = mail.htmlBytes / 102400;
  const sources = { Text: mail.text, HTML: mail.html, Headers: mail.header };
  return [
    el('div', { class: 'steps' }, el('button', { onclick: () => set({ mail: '' }) }, '← All mails'), el('button', { onclick: () => go(-1) }, '‹ before'),
      el('span', {}, `${at + 1} of ${mails.length}`), el('button', { onclick: () => go(1) }, 'next ›')),
    el('div', { class: 'one' },
      el('div', {},
        el('div', { class: 'letter' }, el('span', { class: 'face' }, [...data.sender][0] || '·'),
          el('div', {}, el('div', { class: 'from' }, data.sender), el('div', { class: 'subject' }, mail.subject), el('div', { class: 'pre' }, mail.preheader))),
        state.scheme === 'dark' && !dark && el('p', { class: 'note' }, 'This mail says nothing of the dark: mail programs leave it as it is, or turn its colours round as they like.'),
        el('div', { class: 'frames' },
          el('figure', { class: 'desk' }, el('figcaption', {}, `Desk, ${DESK} px`), el('div', { class: 'screen' }, frame(mail, true, DESK))),
          el('figure', { class: 'phone' }, el('figcaption', {}, `Phone, ${PHONE} px`), el('div', { class: 'screen' }, frame(mail, true, PHONE)))),
        el('div', { class: 'tabs' }, either('Source', 'tab', Object.keys(sources))),
        el('pre', { class: 'source', tabindex: '0' }, sources[state.tab] || mail.text)),
      el('aside', {},
        el('h2', {}, mail.personTitle),
        el('dl', {}, [['Person', mail.person], ['Language', mail.locale], ['Step', mail.step], mail.arm && ['Arm', mail.arm], ['File', mail.file], ['HTML', kb(mail.htmlBytes)], ['Text', kb(mail.textBytes)], ['Message', kb(mail.messageBytes)]]
          .filter(Boolean).flatMap(([t, d]) => [el('dt', {}, t), el('dd', {}, d)])),
        el('div', { class: 'meter', title: 'of the 102,400 bytes that Gmail shows' }, el('i', { class: share > 1 ? 'bad' : share > 0.9 ? 'warn' : '', style: `width:${Math.min(100, share * 100)}%` })),
        el('h2', {}, near.length ? 'To look at' : 'Lint'),
        near.length ? problems(near) : el('p', { class: 'clean' }, '✓ Nothing to look at.'))),
  ];
}

function draw() {
  onkeydown = null;
  const mail = data.mails.find((m) => m.html && key(m) === state.mail);
  const count = `${data.mails.length} ${data.mails.length === 1 ? 'mail' : 'mails'}`;
  const lint = data.problems.length ? `${data.problems.length} to look at` : 'lint is clean';
  const title = el('h1', {}, data.title, el('small', {}, [data.campaign, count, lint].join(' · ')));
  const main = el('main', {}, (mail ? one(mail) : wall()).filter(Boolean));
  for (const old of document.querySelectorAll('header, main')) old.remove();
  document.body.append(el('header', { class: 'bar' }, title, either('Light or dark', 'scheme', ['Light', 'Dark'])), main);
}

draw();
if (data.stamp) {
  setInterval(async () => {
    const answer = await fetch('/stamp').catch(() => null);
    if (answer && answer.ok && (await answer.text()) !== data.stamp) location.reload();
  }, 500);
}
