// One stream a page: "moved" reads the page again, "line" adds a line to its log. Without it the page still reads well.

const KEPT = 5000;
const stream = document.body.dataset.live;
const log = document.getElementById("log");
const follow = document.getElementById("follow");
const notice = document.getElementById("connection");
let waiting = null;

for (const hidden of document.querySelectorAll("[data-script]")) hidden.hidden = false;
const LEVELS = { error: /\b(error|fatal|panic|critical|exception|traceback)/i, warn: /\b(warn|error|fatal|panic|critical|exception|traceback)/i };
const find = document.getElementById("find");
const level = document.getElementById("level");
if (log) log.scrollTop = log.scrollHeight;
if (stream) listen();

function listen() {
  const source = new EventSource(stream);
  source.addEventListener("open", () => say(""));
  source.addEventListener("line", (event) => append(JSON.parse(event.data), event.lastEventId));
  source.addEventListener("problem", (event) => say(JSON.parse(event.data).detail));
  source.addEventListener("moved", () => { waiting ??= setTimeout(again, 300); });
  source.addEventListener("end", () => { source.close(); again(); });
  source.addEventListener("error", () => {
    say("Connecting again …");
    if (source.readyState === EventSource.CLOSED) resumed().then((there) => there ? listen() : ask());
  });
}

function say(text) {
  notice.textContent = text;
  notice.hidden = !text;
}

// What is looked for stays: lines that come later are shown or not by the same words.
function chosen(item) {
  const text = item.lastElementChild.textContent;
  const fits = text.toLowerCase().includes(find.value.toLowerCase());
  return fits && (!level.value || LEVELS[level.value].test(text));
}

function choose() {
  let count = 0;
  for (const item of log.children) count += !(item.hidden = !chosen(item));
  document.getElementById("found").textContent = find.value || level.value ? `${count} of ${log.children.length} lines` : "";
}

if (find) {
  find.addEventListener("input", choose);
  level.addEventListener("change", choose);
  document.getElementById("times").addEventListener("change", (event) => log.classList.toggle("timeless", !event.target.checked));
}

document.addEventListener("keydown", (event) => {
  const search = document.querySelector("form[role=search] input[type=search]");
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || typing || !search) return;
  event.preventDefault();
  search.focus();
});

function append(line, id) {
  const item = document.createElement("li");
  item.id = `l${id}`;
  const time = document.createElement("a");
  time.href = `#l${id}`;
  time.tabIndex = -1;
  time.append(document.createElement("time"));
  time.firstChild.textContent = line.time.slice(11) || "–";
  const from = document.createElement("b");
  from.textContent = line.from ? ` ${line.from}` : "";
  const text = document.createElement("span");
  text.textContent = line.text;
  item.append(time, from, " ", text);
  const atEnd = follow ? follow.checked : log.scrollTop + log.clientHeight >= log.scrollHeight - 40;
  item.hidden = !chosen(item);
  log.append(item);
  document.getElementById("empty").hidden = true;
  while (log.childElementCount > KEPT) log.firstElementChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

// A login that ended must not lose what was typed: the page stays as it is, and its forms get the new login's token.
const dialog = document.getElementById("ended");
document.getElementById("resume").addEventListener("click", async () => {
  if (!(await resumed())) return;
  dialog.hidden = true;
  if (stream) listen();
});
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (form.method !== "post" || form.dataset.checked) return;
  event.preventDefault();
  if (!(await resumed())) return ask();
  form.dataset.checked = "1";
  form.requestSubmit(event.submitter);
});

function ask() {
  say("");
  dialog.hidden = false;
  dialog.querySelector("a").focus();
}

async function resumed() {
  const answer = await fetch("/session", { headers: { Accept: "application/json" } }).catch(() => null);
  if (!answer?.ok || !answer.headers.get("content-type")?.startsWith("application/json")) return false;
  const { csrf } = await answer.json();
  for (const field of document.querySelectorAll("input[name=csrf]")) field.value = csrf;
  return true;
}

async function again() {
  waiting = null;
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => null);
  if (!answer?.ok || new URL(answer.url).pathname === "/login") return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const region of document.querySelectorAll("[data-region]")) {
    const other = fresh.getElementById(region.id);
    if (!other || other.innerHTML === region.innerHTML) continue;
    const focused = region.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    region.replaceChildren(...other.childNodes);
    if (focused) region.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  }
}
