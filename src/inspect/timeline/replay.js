'use strict';
// Shows one step of one run at a time. What there is to show was computed when the page was made: see html.rs.
const data = JSON.parse(document.getElementById('data').textContent);
const root = document.documentElement;
const by = (id) => document.getElementById(id);
const all = (selector) => [...document.querySelectorAll(selector)];
const ROW = 24, COLUMN = 22, MOST_ROWS = 40;

let room = {}, run = 0, at = 0, timer = null, predicts = false, right = 0, guesses = 0, addressed = null;
let language = new URLSearchParams(location.search).get('lang') || navigator.language || 'en';
language = language.startsWith('zh') ? 'zh' : 'en';

const steps = () => data.runs[run].steps;
const tasks = () => data.runs[run].tasks;
const say = (english, chinese) => language === 'zh' ? chinese : english;
const said = (pair) => pair ? say(...pair) : '';

// What is drawn.

const element = (name, text, kind = '') => Object.assign(document.createElement(name), { textContent: text, className: kind });

/** Fills `parent` with what `draw` makes of each item; a negative number at the end is how many more there are. */
function fill(parent, items, draw, name) {
  const more = typeof items.at(-1) === 'number' && items.at(-1) < 0 ? -items.at(-1) : 0;
  const drawn = (more ? items.slice(0, -1) : items).map(draw);
  if (more) drawn.push(element(name, say(`and ${more} more`, `另外 ${more} 个`), 'none'));
  if (!drawn.length) drawn.push(element(name, say('none', '无'), 'none'));
  parent.replaceChildren(...drawn);
}

/** What each task of each run is at each step, as an index of `data.looks`; -1 before it is spawned and after its end. */
const kinds = data.runs.map(({ spans, steps }) => spans.map((own) => {
  const all = new Int8Array(steps.length).fill(-1);
  own.forEach(([look, from]) => all.fill(look, from));
  return all;
}));
const kind = (task, step) => kinds[run][task][step];

const bar = (look, from, to, y) =>
  `<path class="${data.looks[look].class}" stroke-width="${data.looks[look].height * ROW}" d="M${from} ${y}H${to}"/>`;

/** How far from its left edge an element was clicked, in pixels. */
const across = (event) => event.clientX - event.currentTarget.getBoundingClientRect().left;

/** The rows of the tasks around this step, one column a turn. */
function strip() {
  const columns = Math.floor(room.strip / COLUMN), width = room.strip;
  const first = Math.max(0, Math.min(at - (columns >> 1), steps().length - columns));
  const last = Math.min(first + columns, predicts ? at + 1 : steps().length);
  let rows = tasks().map((_, task) => task);
  if (rows.length > MOST_ROWS) {
    const near = new Set(steps().slice(first, last).map((step) => step.task));
    rows = rows.filter((task) => near.has(task));
  }
  by('strip').firstChild.replaceChildren(...rows.map((task) => {
    const row = element('li', '', task === steps()[at].task ? 'runs' : '');
    row.append(element('span', tasks()[task].name), element('small', tasks()[task].era));
    row.title = `${tasks()[task].name}, ${tasks()[task].site}`;
    return row;
  }));
  const high = (rows.length + 1) * ROW;
  let drawn = '';
  for (let step = first; step < last; step++) {
    const { turn } = steps()[step], x = (step - first + 0.5) * COLUMN;
    if (step === at) drawn += `<text class="numbers here" x="${x}" y="${high - 8}">${turn}</text>`;
    else if (turn % 5 === 0 && Math.abs(step - at) > 1) drawn += `<text class="numbers" x="${x}" y="${high - 8}">${turn}</text>`;
  }
  rows.forEach((task, row) => {
    const y = (row + 0.5) * ROW;
    for (let step = first; step < last;) {
      const look = kind(task, step);
      let to = step + 1;
      while (to < last && look !== 0 && kind(task, to) === look) to++;
      if (look >= 0) drawn += bar(look, (step - first) * COLUMN, (to - first) * COLUMN - (look ? 0 : 1.5), y);
      if (tasks()[task].failed && look >= 0 && to < last && kind(task, to) < 0) {
        drawn += `<path class="failed" d="M${(to - first) * COLUMN + 2} ${y - 4}l8 8m0 -8l-8 8"/>`;
      }
      step = to;
    }
  });
  drawn += `<rect class="cursor" x="${(at - first) * COLUMN}" y="1" width="${COLUMN}" height="${high - 2}"/>`;
  const label = `<title>${say('The states of the tasks, turn by turn', '各任务在每个轮次的状态')}</title>`;
  by('strip').lastChild.innerHTML = `<svg role="img" height="${high}" viewBox="0 0 ${width} ${high}" preserveAspectRatio="xMinYMin slice">${label}${drawn}</svg>`;
  by('strip').lastChild.onclick = (event) => go(Math.min(first + Math.floor(across(event) / COLUMN), last - 1));
  const hidden = tasks().length - rows.length;
  by('more').textContent = [said(data.runs[run].cut), said(data.runs[run].shuffled),
    hidden ? say(`${hidden} tasks have no row, since none of these turns is theirs.`, `另有 ${hidden} 个任务未显示：以上轮次都不属于它们。`) : ''].join(' ');
}

/** Marks the turn in the picture of the run. */
function mark() {
  const cursor = all('.picture .cursor')[run], [from, to] = steps()[at].x;
  cursor.setAttribute('x', from - 1);
  cursor.setAttribute('width', Math.max(to - from, 1) + 2);
  if (room.scrolls) cursor.closest('.scroll').scrollLeft = from * room.scale - room.strip / 2;
}

function source(line) {
  by('place').textContent = !line ? say('Not recorded for this turn.', '本轮次没有记录。')
    : [`${line.file}:${line.line}`, line.function,
      line.inside && say(`inside ${line.inside}`, `在 ${line.inside} 内部`)].filter(Boolean).join(say(', ', '，'));
  by('source').replaceChildren(...(line ? line.text : []).map((text, index) =>
    element('span', `${String(line.first + index).padStart(4)}  ${text}`, line.first + index === line.line ? 'left' : '')));
  by('source').hidden = !line?.text.length;
}

/** Asks which of the tasks that are ready or wait after this step runs next. */
function question() {
  const { after, waiting } = steps()[at], next = steps()[at + 1];
  const found = next ? [...after, ...waiting.map((item) => item[0] ?? -1), next.task] : [];
  const choices = [...new Set(found)].filter((task) => task >= 0).sort((one, other) => one - other);
  by('question').hidden = !predicts;
  by('ask').hidden = !next;
  fill(by('choices'), choices, (task, index) => {
    const choice = Object.assign(element('button', ` ${tasks()[task].name}`), { type: 'button', onclick: () => guess(task) });
    if (index < 9) choice.prepend(element('kbd', index + 1));
    return choice;
  }, 'span');
}

function show() {
  const step = steps()[at];
  const chip = (task) => element('span', tasks()[task].name, task === step.task ? 'chip runs' : 'chip');
  const waits = (waiting) => element('li', `${tasks()[waiting[0]].name}: ${said(data.runs[run].texts[waiting[1]])}`);
  const sleeps = ([task, until, left]) => element('li', `${tasks()[task].name}: ${until} (+${left})`);
  by('before').textContent = `${step.at}${step.before ? ` · ${said(step.before)}` : ''}`;
  by('sentence').textContent = said(step.text);
  fill(by('queue-before'), step.queue, chip, 'span');
  fill(by('queue-after'), step.after, chip, 'span');
  fill(by('waiting'), step.waiting, waits, 'li');
  fill(by('sleepers'), step.sleepers, sleeps, 'li');
  source(data.runs[run].lines[step.line]);
  [by('scrub').max, by('jump').max, by('steps').textContent] = Array(3).fill(steps().length);
  [by('scrub').value, by('jump').value] = [at + 1, at + 1];
  by('scrub').setAttribute('aria-valuetext', `${at + 1} / ${steps().length}`);
  all('.tab').forEach((tab, index) => tab.setAttribute('aria-pressed', index === run));
  strip();
  mark();
  question();
  clearTimeout(addressed); // Browsers refuse an address that changes too often.
  addressed = setTimeout(() => history.replaceState(null, '', `#${run ? `run=${run + 1}&` : ''}step=${at + 1}`), 200);
}

// What can be done.

function go(step) {
  at = Math.max(0, Math.min(step, steps().length - 1));
  show();
}

function play(on) {
  clearInterval(timer);
  timer = null;
  if (on && at + 1 < steps().length && !predicts) {
    timer = setInterval(() => at + 1 < steps().length ? go(at + 1) : play(false), 1000 / by('speed').value);
  }
  root.classList.toggle('plays', timer !== null);
  by('sentence').setAttribute('aria-live', timer ? 'off' : 'polite');
}

/** The next turn of this task, or the one before. */
function same(direction) {
  const is = ({ task }, step) => task === steps()[at].task && (step - at) * direction > 0;
  const found = direction > 0 ? steps().findIndex(is) : steps().findLastIndex(is);
  if (found >= 0) go(found);
}

function choose(index) {
  [run, at] = [index, Math.min(at, data.runs[index].steps.length - 1)];
  measure();
}

function predict() {
  [predicts, right, guesses] = [!predicts, 0, 0];
  play(false);
  by('verdict').textContent = '';
  root.classList.toggle('predicts', predicts);
  by('predict').setAttribute('aria-pressed', predicts);
  show();
}

function guess(task) {
  const next = steps()[at + 1];
  [right, guesses] = [right + (task === next.task), guesses + 1];
  const { name } = tasks()[next.task], count = say(`${right} of ${guesses} are right.`, `${guesses} 次中答对 ${right} 次。`);
  by('verdict').textContent = (task === next.task ? say(`Right: ${name}. `, `正确：${name}。`) : say(`No: ${name}. `, `不对：是 ${name}。`)) + count;
  const clicked = by('choices').contains(document.activeElement);
  go(at + 1);
  if (clicked) (by('choices').querySelector('button') || by('predict')).focus();
}

function speak(chosen) {
  language = root.lang = chosen;
  all('[data-language]').forEach((button) => button.setAttribute('aria-pressed', button.dataset.language === chosen));
  by('verdict').textContent = '';
  show();
}

const actions = {
  ' ': () => play(!timer), ArrowRight: () => go(at + 1), ArrowLeft: () => go(at - 1), Home: () => go(0), End: () => go(Infinity),
  n: () => same(1), b: () => same(-1), j: () => { by('jump').focus(); by('jump').select(); }, s: () => by('scrub').focus(), p: predict,
  r: () => choose((run + 1) % data.runs.length), l: () => speak(say('zh', 'en')),
};
const buttons = { first: 'Home', back: 'ArrowLeft', play: ' ', step: 'ArrowRight', last: 'End', same: 'n', predict: 'p' };
Object.entries(buttons).forEach(([id, key]) => { by(id).onclick = actions[key]; });
document.onkeydown = (event) => {
  const within = (selector) => event.target.closest(selector);
  const moves = /^(Arrow|Home|End)/.test(event.key), presses = event.key === ' ';
  if (within('[type=number], select') || moves && within('[type=range], [tabindex]') || presses && within('button, input')) return;
  if (!by('keys').checked || event.ctrlKey || event.altKey || event.metaKey) return;
  const choice = predicts && by('choices').querySelectorAll('button')['123456789'.indexOf(event.key)];
  const action = choice ? () => choice.click() : actions[event.key];
  if (action) event.preventDefault();
  action?.();
};
by('scrub').oninput = by('jump').onchange = (event) => go(event.target.value - 1);
by('speed').onchange = () => play(timer !== null);
all('.tab').forEach((tab, index) => { tab.onclick = () => choose(index); });
all('[data-language]').forEach((button) => { button.onclick = () => speak(button.dataset.language); });
all('.picture svg').forEach((picture) => {
  picture.insertAdjacentHTML('beforeend', `<rect class="cursor" y="1" height="${picture.viewBox.baseVal.height - 2}"/>`);
  picture.onclick = (event) => {
    const after = steps().findIndex((step) => step.x[1] >= across(event) / room.scale);
    go(after < 0 ? Infinity : after);
  };
});

/** Looks how much room there is, and shows the step in it. Not in `show`, since to look makes the browser lay out the page. */
function measure() {
  all('.picture').forEach((picture, index) => { picture.hidden = index !== run; });
  const scroll = all('.scroll')[run], picture = scroll.firstChild.getBoundingClientRect().width;
  room = { strip: Math.max(by('strip').lastChild.clientWidth, 120), scale: picture / 960, scrolls: picture > scroll.clientWidth + 1 };
  show();
}

function address() {
  const number = (name, most) => Math.max(0, Math.min((location.hash.match(`${name}=(\\d+)`)?.[1] ?? 1) - 1, most - 1));
  run = number('run', data.runs.length);
  at = number('step', steps().length);
  measure();
}

if (data.runs.length) {
  root.classList.add('scripted');
  by('strip').replaceChildren(document.createElement('ol'), document.createElement('div'));
  address();
  speak(language);
  window.onhashchange = address;
  window.onresize = measure;
}
