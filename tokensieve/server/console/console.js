// The page at the server's root: predict one text or many, explain, correct, and watch the traffic.

import { checkName, decode, isBlank, readLines, readTable, writeCsv } from "./csv.js";
import { count, countsView, element, foreign, labelsOf, labelText, percent, predictionView, remarks, terms, wordsView } from "./view.js";

const facts = document.body.dataset;
const MOST_TEXTS = Number(facts.texts), MOST_CHARACTERS = Number(facts.characters), MOST_BYTES = Number(facts.bytes);
const SHOWN_ROWS = 500, SHOWN_LABELS = 12, RETRIES = 20;
const TRAFFIC_SECONDS = 5;
const at = (id) => document.getElementById(id);

let key = "";
let model = null; // what GET /model returned
let shownModel = ""; // what the page shows of it
let chosen = null; // the chosen file
let reading = null; // resolves when it has been read
let table = null; // its content
let found = null; // rows of the last predictions of many texts
let stopped = false;
let before = null; // the traffic some seconds ago

class Refused extends Error {
  constructor(status, detail) { super(detail); this.status = status; }
}

// Return the response to a request as JSON, or as text.
async function ask(path, body, kind = "json") {
  const headers = key ? { authorization: `Bearer ${key}` } : {};
  const options = body === undefined ? { headers } : { method: "POST", headers: { ...headers, "content-type": "application/json" }, body: JSON.stringify(body) };
  let response;
  try { response = await fetch(path, { ...options, cache: "no-store" }); } catch { throw new Refused(0, "The server does not respond."); }
  if (response.ok) return response[kind]();
  let detail;
  try { detail = (await response.json()).detail; } catch { detail = response.statusText; }
  throw new Refused(response.status, detail);
}

function report(error) {
  if (error instanceof Refused && error.status === 401) {
    at("key-form").hidden = false;
    at("served").textContent = "Send the API key to use the model.";
    if (key) { showError("The server refused this API key."); at("key").select(); }
    at("key").focus();
    return;
  }
  showError(error.message);
  if (!(error instanceof Refused)) throw error;
}

function showError(message) {
  at("error").textContent = message;
  at("error").hidden = !message;
  if (message) at("error").scrollIntoView({ block: "nearest" });
}

// Run a function. Meanwhile the button is off. An error is shown on the page.
async function during(button, run) {
  showError("");
  button.disabled = true;
  try { await run(); } catch (error) { report(error); } finally { button.disabled = false; }
}

// The columns that the model reads of a row; none if it reads one text.
const columnsOf = (info) => (info ? tasksOf(info)[0][1].text_columns ?? [] : []);
const joined = (values) => values.filter((value) => value.trim()).join("\n");
const tasksOf = (tree) => (tree.tasks ? Object.entries(tree.tasks) : [["", tree]]);
const characters = (text) => [...text].length;

// One text: a string, or an object with the values of the model's columns

// Show one field per column of the model, or one for its text. What is entered stays.
function showFields(columns) {
  const before = fields().map((field) => field.value);
  const names = columns.length ? columns : ["Text"];
  at("fields").replaceChildren(...names.flatMap((name, place) => {
    const id = place ? `text-${place}` : "text";
    const field = element("textarea", { id, rows: place === names.length - 1 ? 4 : 2, dir: "auto", "aria-describedby": "text-hint" });
    field.value = before[place] ?? "";
    return [element("label", { for: id }, columns.length ? foreign(name) : name), field];
  }));
  const [last, ...empty] = [...columns].reverse();
  at("lines-hint").replaceChildren(...(empty.length ? ["Each line is read as ", foreign(last), ", without ", foreign(empty.reverse().join(", ")), ". For texts with all columns, choose a file."] : []));
}

const fields = () => [...at("fields").querySelectorAll("textarea")];

function enteredText() {
  const columns = columnsOf(model), values = fields().map((field) => field.value);
  return columns.length ? Object.fromEntries(columns.map((name, place) => [name, values[place]])) : values[0];
}

// Fill the fields. A text of which the columns are not known is in the last one.
function enterText(given) {
  const all = fields();
  for (const [place, name] of columnsOf(model).entries()) all[place].value = given[name] ?? "";
  if (typeof given === "string") all.at(-1).value = given;
}

async function predictOne(given) {
  const text = typeof given === "string" ? given : joined(Object.values(given));
  if (isBlank(text)) { showError("Enter a text first."); at("text").focus(); return; }
  if (text.length > MOST_CHARACTERS && characters(text) > MOST_CHARACTERS) {
    showError(`The text has ${count(characters(text))} characters; the server reads at most ${count(MOST_CHARACTERS)}.`);
    return;
  }
  const began = performance.now();
  const answer = await ask("predict", { text: given, top: 5 });
  const milliseconds = Math.round(performance.now() - began);
  at("answer").hidden = false;
  at("predictions").replaceChildren(...tasksOf(answer).map(([task, tree]) => predictionView(tree, task, milliseconds)));
  showFeedback(given, answer);
  at("words").replaceChildren(element("p", { className: "hint" }, "Finding the words …"));
  const several = tasksOf(answer).length > 1;
  at("label-choice").hidden = several;
  if (!several) {
    at("explained").replaceChildren(...answer.top.map(({ label }) => element("option", { value: label }, label)));
    at("explained").onchange = () => explain(given, at("explained").value).catch(report);
  }
  await explain(given);
}

async function explain(text, label) {
  const answer = await ask("explain", label === undefined ? { text } : { text, label });
  const milliseconds = answer.milliseconds;
  at("words").replaceChildren(...tasksOf(answer).map(([task, tree]) => wordsView(answer.text ?? text, { ...tree, milliseconds }, task)));
}

// Corrections

function showFeedback(text, answer) {
  const box = at("feedback");
  if (facts.feedback !== "yes") {
    box.replaceChildren(element("p", { className: "hint" }, "Corrections are off: this server stores no texts."));
    return;
  }
  box.replaceChildren(...tasksOf(answer).map(([task, tree]) => feedbackView(text, task, tree, answer.version)));
}

function feedbackView(text, task, prediction, version) {
  const info = task ? model?.tasks?.[task] : model;
  const several = Boolean(info?.several);
  const given = labelsOf(prediction).map(({ label }) => label);
  const name = `right-${task}`;
  const choice = element("select", { id: name, multiple: several, required: !several, size: several ? 6 : 0 });
  if (!several) choice.append(element("option", { value: "" }, "Choose a label"));
  for (const label of info?.labels ?? []) {
    if (several || !given.includes(label)) choice.append(element("option", { value: label, selected: several && given.includes(label) }, label));
  }
  const send = element("button", { className: "primary" }, "Send the correction");
  const form = element("form", { hidden: true, id: `form-${task}` },
    element("div", {}, element("label", { for: name }, several ? "Right labels (several, or none)" : "Right label"), choice), send);
  const open = element("button", { type: "button", "aria-expanded": "false", "aria-controls": form.id }, task ? `Wrong label for ${task}?` : "Wrong label?");
  const result = element("p", { role: "status", className: "done" });
  open.addEventListener("click", () => {
    form.hidden = !form.hidden;
    open.setAttribute("aria-expanded", String(!form.hidden));
    if (!form.hidden) choice.focus();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const label = several ? [...choice.selectedOptions].map((option) => option.value) : choice.value;
    during(send, async () => {
      await ask("feedback", { text, label, predicted: several ? given : given[0], version, ...(task ? { task } : {}) });
      form.hidden = open.hidden = true;
      result.textContent = "Thank you: the text is stored with the right label, for the next training.";
    });
  });
  return element("div", {}, open, form, result);
}

// Many texts

async function chooseFile(file) {
  at("file-note").textContent = "";
  at("column-choice").hidden = true;
  [chosen, table] = [file, null];
  if (!file) return;
  let encoding;
  try {
    checkName(file.name);
    const bytes = new Uint8Array(await file.arrayBuffer());
    if (file !== chosen) return; // another one has been chosen meanwhile
    const content = decode(bytes);
    encoding = content.encoding;
    table = readTable(content.text.replace(/^\ufeff/, ""), file.name);
  } catch (error) { if (file === chosen) showError(`${file.name}: ${error.message}.`); return; }
  at("file-note").textContent = `${file.name}: ${count(table.rows.length)} texts, ${encoding}`;
  if (!table.header) return;
  const names = table.header;
  at("column").replaceChildren(...names.map((name, place) => element("option", { value: place }, name)));
  const known = names.findIndex((name) => name.trim().toLowerCase() === "text");
  at("column").value = known >= 0 ? known : longestColumn(table);
  const columns = modelColumns(table).length > 0;
  if (columns) at("file-note").textContent += `, columns ${columnsOf(model).join(", ")}`;
  at("column-choice").hidden = columns || names.length < 2;
}

function longestColumn({ header, rows }) {
  const size = (place) => rows.slice(0, 100).reduce((sum, row) => sum + (row[place] ?? "").length, 0);
  return header.reduce((best, _, place) => (size(place) > size(best) ? place : best), 0);
}

// Return the rows to predict: their cells, and the text among them. A number or a list in JSON is no text.
function chosenRows() {
  if (!table) return { header: ["text"], rows: readLines(at("lines").value).map((line) => ({ cells: [line], text: line })) };
  const places = modelColumns(table);
  const read = places.length ? places : [table.header ? Number(at("column").value) : 0];
  const wrong = table.rows.findIndex((cells) => read.some((place) => cells.wrong?.includes(place)));
  if (wrong >= 0) throw new Refused(422, `Row ${count(wrong + 1)} has a value in the column of the texts that is not a text; give a text, or null.`);
  if (places.length) {
    const columns = columnsOf(model);
    const given = (cells) => Object.fromEntries(columns.map((name, number) => [name, cells[places[number]] ?? ""]));
    return { header: table.header, rows: table.rows.map((cells) => ({ cells, text: joined(Object.values(given(cells))), given: given(cells) })) };
  }
  const [place] = read;
  return { header: table.header ?? ["text"], rows: table.rows.map((cells) => ({ cells, text: cells[place] ?? "" })) };
}

// Return the places of the model's columns in a table. Empty if the model has none, or the table not all.
function modelColumns({ header }) {
  const places = columnsOf(model).map((name) => (header ?? []).indexOf(name));
  return places.includes(-1) ? [] : places;
}

// Divide rows into requests that the server accepts.
function* requests(rows) {
  let part = [], bytes = 0;
  for (const row of rows) {
    const size = 8 + new TextEncoder().encode(JSON.stringify(row.given ?? row.text)).length;
    if (part.length && (part.length === MOST_TEXTS || bytes + size > 0.9 * MOST_BYTES)) { yield part; part = []; bytes = 0; }
    part.push(row);
    bytes += size;
  }
  if (part.length) yield part;
}

async function predictMany() {
  await reading;
  const { header, rows } = chosenRows();
  if (!rows.length) { showError("Enter at least one line, or choose a file."); return; }
  const long = rows.findIndex(({ text }) => text.length > MOST_CHARACTERS && characters(text) > MOST_CHARACTERS);
  if (long >= 0) { showError(`Text ${count(long + 1)} has more than ${count(MOST_CHARACTERS)} characters.`); return; }
  stopped = false;
  at("stop").hidden = false;
  found = { header, rows: [] };
  const body = at("table").tBodies[0];
  body.replaceChildren();
  at("results").hidden = false;
  at("summary").textContent = "";
  try {
    for (const part of requests(rows)) {
      if (stopped) break;
      const asked = part.filter(({ text }) => !isBlank(text)); // a row without a text has no prediction
      const texts = asked.map(({ text, given }) => given ?? text);
      const predictions = texts.length ? (await patiently(() => ask("predict", { texts, top: 1 }))).predictions : [];
      for (const own of part) {
        const row = { ...own, prediction: isBlank(own.text) ? null : predictions.shift() };
        found.rows.push(row);
        if (found.rows.length <= SHOWN_ROWS) body.append(resultRow(row));
      }
      at("progress").textContent = `${count(found.rows.length)} of ${count(rows.length)} texts`;
    }
  } finally {
    at("stop").hidden = true;
    at("summary").textContent = summary(found.rows);
  }
}

// A busy server refuses requests with status 503 for a moment.
async function patiently(run) {
  for (let trial = 1; ; trial++) {
    try { return await run(); } catch (error) {
      if (error.status !== 503 || trial === RETRIES || stopped) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

function summary(rows) {
  const uncertain = rows.filter(({ prediction }) => prediction && tasksOf(prediction).some(([, tree]) => tree.uncertain)).length;
  const empty = rows.filter(({ prediction }) => !prediction).length;
  const without = empty ? ` ${count(empty)} without a text, so without a label.` : "";
  const more = rows.length > SHOWN_ROWS ? ` The table shows the first ${SHOWN_ROWS}; the file has all.` : "";
  return rows.length ? `${count(rows.length)} texts, ${count(uncertain)} uncertain.${without}${more}` : "";
}

function resultRow({ text, given, prediction }) {
  if (!prediction) return element("tr", {}, element("td", {}, "(no text)"), element("td", {}, "-"), element("td", { className: "number" }, "-"));
  const open = element("button", { type: "button", className: "text", title: "Show the words that decide" }, element("span", { className: "clamp" }, foreign(text)));
  open.addEventListener("click", () => {
    enterText(given ?? text);
    at("one-title").scrollIntoView({ block: "start" });
    at("text").focus();
    at("text-form").requestSubmit();
  });
  const trees = tasksOf(prediction);
  return element("tr", {},
    element("td", {}, element("div", { className: "clamp" }, open)),
    element("td", {}, ...trees.map(([task, tree]) => element("div", {}, foreign(task ? `${task}: ${labelText(tree)}` : labelText(tree)), " ",
      ...remarks(tree).map((remark) => element("span", { className: "badge" }, remark))))),
    element("td", { className: "number" }, ...trees.map(([, tree]) => element("div", {}, probabilities(tree)))));
}

const probabilities = (tree) => labelsOf(tree).map(({ probability }) => percent(probability)).join(", ") || "-";

function download() {
  const tasks = tasksOf(found.rows.find(({ prediction }) => prediction)?.prediction ?? {}).map(([task]) => task);
  const taken = new Set(found.header);
  const columns = tasks.flatMap((task) => ["label", "probability", "uncertain", "truncated"].map((name) => {
    const full = task ? `${task}_${name}` : name;
    return taken.has(full) ? `predicted_${full}` : full;
  }));
  const answers = ({ prediction }) => !prediction ? columns.map(() => "") : tasksOf(prediction).flatMap(([, tree]) => {
    const labels = labelsOf(tree);
    return [labels.map(({ label }) => label).join("|"), labels.map(({ probability }) => probability).join("|"), tree.uncertain, tree.truncated];
  });
  const lines = [[...found.header, ...columns], ...found.rows.map((row) => [...found.header.map((_, place) => row.cells[place] ?? ""), ...answers(row)])];
  const address = URL.createObjectURL(new Blob([writeCsv(lines)], { type: "text/csv" }));
  element("a", { href: address, download: "predictions.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

// Model and traffic

async function showModel() {
  const [info, state] = [await ask("model"), await ask("ready")];
  at("key-form").hidden = true;
  const now = JSON.stringify([info, state]);
  if (now === shownModel) return;
  if (String(columnsOf(model)) !== String(columnsOf(info))) showFields(columnsOf(info));
  [model, shownModel] = [info, now];
  at("served").replaceChildren("Model ", ...(info.name ? [foreign(info.name), ", version "] : []), info.version);
  const pairs = [...(info.name ? [["Name", foreign(info.name)]] : []), ["Version", foreign(info.version)]];
  for (const [task, tree] of tasksOf(info)) {
    if (task) pairs.push(["Task", foreign(task)]);
    pairs.push(["Labels", labelList(tree)]);
    pairs.push(["Uncertain", tree.several ? `if a label is close to its threshold (certainty below ${percent(tree.threshold)})` : `below ${percent(tree.threshold)}`]);
    pairs.push(["Reads", `${count(tree.max_length)} tokens${tree.truncation === "head_tail" ? ", from both ends of a long text" : ""}`]);
    if (tree.prompt) pairs.push(["Prompt", foreign(JSON.stringify(tree.prompt))]);
    if (tree.text_columns.length) pairs.push(["Columns", foreign(tree.text_columns.join(", "))]);
    pairs.push(["Trained on data", element("code", {}, tree.data_hash || "unknown")]);
    pairs.push(["Trained from", foreign(tree.base)]);
    pairs.push(["Graph", tree.variant]);
  }
  if (state.checked) pairs.push(["Newest checked", new Date(state.checked).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })]);
  if (state.trouble) pairs.push(["Newer model", foreign(state.trouble)]);
  pairs.push(["Server", `tokensieve ${facts.program}`]);
  at("model").replaceChildren(...terms(pairs));
}

// Show the number of labels, and on request their names.
function labelList(tree) {
  const number = `${count(tree.labels.length)}${tree.several ? ", any number per text" : ""}`;
  return element("details", {}, element("summary", {}, number), element("ul", { tabIndex: 0, "aria-label": "Labels" }, ...tree.labels.map((label) => element("li", {}, foreign(label)))));
}

// Return the samples of the Prometheus text format, as {name, labels, value}.
function samples(text) {
  const found = [];
  for (const line of text.split("\n")) {
    const parts = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!parts) continue;
    const labels = {};
    for (const [, name, value] of (parts[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
      labels[name] = value.replace(/\\(.)/g, (_, mark) => (mark === "n" ? "\n" : mark));
    }
    found.push({ name: parts[1], labels, value: Number(parts[3]) });
  }
  return found;
}

// Return the bound of the histogram's bucket that has the given share of requests, in milliseconds.
function bound(buckets, share) {
  const total = buckets.at(-1)?.value ?? 0;
  const bucket = buckets.find(({ value }) => value >= share * total);
  return bucket.labels.le === "+Inf" ? "more than 10,000 ms" : `${count(1000 * Number(bucket.labels.le))} ms`;
}

async function showTraffic() {
  const all = samples(await ask("metrics", undefined, "text"));
  const named = (name) => all.filter((sample) => sample.name === name);
  const total = named("tokensieve_request_seconds_count")[0]?.value ?? 0;
  const buckets = named("tokensieve_request_seconds_bucket");
  const now = performance.now();
  const pairs = [["Requests", count(total)]];
  if (before && now > before.now) pairs.push(["Per second, now", ((total - before.total) / (now - before.now) * 1000).toFixed(1)]);
  if (total) pairs.push(["Half answered within", bound(buckets, 0.5)], ["95% within", bound(buckets, 0.95)]);
  pairs.push(["Texts waiting", count(named("tokensieve_queue_texts")[0]?.value ?? 0)]);
  const uncertain = named("tokensieve_uncertain_total").reduce((sum, { value }) => sum + value, 0);
  pairs.push(["Uncertain texts", count(uncertain)]);
  at("traffic").replaceChildren(...terms(pairs));
  before = { now, total };
  const counts = named("tokensieve_labels_total").map(({ labels, value }) => [labels.task ? `${labels.task}: ${labels.label}` : labels.label, value]);
  counts.sort((one, other) => other[1] - one[1]);
  at("counts").replaceChildren(...(counts.length ? [countsView(counts, SHOWN_LABELS, model && tasksOf(model).some(([, tree]) => tree.several))] : []));
}

async function refresh() {
  if (document.hidden || (facts.key === "yes" && !key)) return;
  try { await showTraffic(); await showModel(); } catch { /* the next request of the user shows it */ }
}

// Events

at("text-form").addEventListener("submit", (event) => {
  event.preventDefault();
  during(event.target.querySelector("button"), () => predictOne(enteredText()));
});
at("fields").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); at("text-form").requestSubmit(); }
});
at("lines-form").addEventListener("submit", (event) => {
  event.preventDefault();
  during(event.target.querySelector("button"), predictMany);
});
at("lines").addEventListener("input", () => {
  if (table) { table = null; at("file").value = ""; chooseFile(null); }
});
at("file").addEventListener("change", () => { showError(""); reading = chooseFile(at("file").files[0]).catch(report); });
at("stop").addEventListener("click", () => { stopped = true; });
at("download").addEventListener("click", download);
at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key = at("key").value.trim();
  during(event.target.querySelector("button"), async () => { await showModel(); await showTraffic(); at("text").focus(); });
});
for (const name of ["dragenter", "dragover"]) {
  at("drop").addEventListener(name, (event) => { event.preventDefault(); at("drop").classList.add("over"); });
}
for (const name of ["dragleave", "drop"]) {
  at("drop").addEventListener(name, (event) => { event.preventDefault(); at("drop").classList.remove("over"); });
}
at("drop").addEventListener("drop", (event) => {
  showError("");
  const [file] = event.dataTransfer.files;
  if (file) { at("file").value = ""; reading = chooseFile(file).catch(report); }
});

document.querySelector("nav").hidden = facts.key === "yes"; // links send no key
if (facts.key === "yes") report(new Refused(401, ""));
else showModel().then(showTraffic).catch(report);
setInterval(refresh, 1000 * TRAFFIC_SECONDS);
