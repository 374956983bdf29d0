// One stream a page: "moved" reads the page again, "line" adds a line to its log. Without it the page still reads well.

const KEPT = 5000;
const stream = document.body.dataset.live;
const log = document.getElementById("log");
const follow = document.getElementById("follow");
const notice = document.getElementById("connection");
let waiting = null;

for (const hidden of document.querySelectorAll("[data-script]")) hidden.hidden = false;
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
    const ended = source.readyState === EventSource.CLOSED;
    say(ended ? "This page is no longer live: log in again (enclii open), then reload it." : "Connecting again …");
  });
}

function say(text) {
  notice.textContent = text;
  notice.hidden = !text;
}

function append(line, id) {
  const item = document.createElement("li");
  item.id = `l${id}`;
  const time = document.createElement("time");
  time.textContent = line.time.slice(11);
  const from = document.createElement("b");
  from.textContent = line.from ? ` ${line.from}` : "";
  const text = document.createElement("span");
  text.textContent = line.text;
  item.append(time, from, " ", text);
  const atEnd = follow ? follow.checked : log.scrollTop + log.clientHeight >= log.scrollHeight - 40;
  log.append(item);
  document.getElementById("empty").hidden = true;
  while (log.childElementCount > KEPT) log.firstElementChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
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
