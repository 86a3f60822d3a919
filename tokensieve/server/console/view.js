// Build the elements of the page. Texts and labels are only ever set as text, never as HTML.

// Return an element. Its properties are set, and its children are elements or strings.
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("aria-") || ["role", "scope", "for", "dir"].includes(key)) made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

// Text of people, in its own direction. Long names may be broken after an underscore or a hyphen.
export function foreign(text) {
  const parts = text.split(/(?<=[_/.-])/).flatMap((part) => [element("wbr"), part]);
  return element("bdi", { dir: "auto" }, ...parts.slice(1));
}
export const percent = (share) => `${(100 * share).toFixed(1)}%`;
export const count = (number) => number.toLocaleString("en");
const signed = (number) => `${number < 0 ? "−" : "+"}${Math.abs(number).toFixed(2)}`;

function bar(share, kind = "") {
  const inner = element("span", { className: kind });
  inner.style.width = `${Math.min(100, 100 * share)}%`;
  return element("td", { className: "meter", "aria-hidden": "true" }, inner);
}

// Return the labels of a prediction, as objects with label and probability.
export const labelsOf = (prediction) =>
  prediction.labels ?? [{ label: prediction.label, probability: prediction.probability }];

export const labelText = (prediction) => labelsOf(prediction).map(({ label }) => label).join(", ") || "no label";

export function remarks(prediction) {
  return [
    prediction.uncertain ? "uncertain" : "",
    prediction.truncated ? "long text: only a part was read" : "",
  ].filter(Boolean);
}

// Show a prediction: its labels, what is remarkable, and the most likely labels.
export function predictionView(prediction, task, seconds) {
  const labels = labelsOf(prediction);
  const verdict = element("p", { className: "verdict" });
  if (task) verdict.append(foreign(`${task}:`));
  for (const { label } of labels) verdict.append(element("strong", {}, foreign(label)));
  if (!labels.length) verdict.append(element("strong", {}, "no label"));
  if (prediction.label !== undefined) verdict.append(percent(prediction.probability));
  for (const remark of remarks(prediction)) verdict.append(element("span", { className: "badge" }, remark));
  const rows = prediction.top.map(({ label, probability }) =>
    element("tr", {}, element("th", { scope: "row" }, foreign(label)), bar(probability), number(percent(probability))));
  const caption = `Most likely labels, answered in ${seconds} ms`;
  return element("div", {}, verdict, table(caption, ["Label", "", "Probability"], rows));
}

const number = (text) => element("td", { className: "number" }, text);

function table(caption, names, rows, kind = "") {
  const header = names.map((name) =>
    name ? element("th", { scope: "col", className: ["Label", "Words", "Then"].includes(name) ? "" : "number" }, name)
      : element("td", { className: "meter", "aria-hidden": "true" }));
  return element("table", { className: kind }, element("caption", {}, caption), element("thead", {}, element("tr", {}, ...header)), element("tbody", {}, ...rows));
}

const SHOWN = 8; // words in the table
const STRONG = 0.5, WEAK = 0.15; // shares of the largest effect

// Show a text with its words marked, and the words with the largest effects.
export function wordsView(text, explanation, task) {
  const words = [...explanation.words, ...explanation.phrases];
  if (!words.length) return element("p", {}, "The text has no words that could be removed.");
  const largest = Math.max(...words.map((word) => Math.abs(word.effect)), 1e-9);
  const ranked = [...words].sort((one, other) => Math.abs(other.effect) - Math.abs(one.effect)).slice(0, SHOWN);
  const before = labelText(explanation);
  const changes = ranked.some((word) => labelText(word) !== before);
  const rows = ranked.map((word) => {
    const without = labelText(word);
    const kind = word.effect < 0 ? "against" : "for";
    return element("tr", {},
      element("th", { scope: "row" }, foreign(word.text)),
      bar(Math.abs(word.effect) / largest, kind),
      number(signed(word.effect)),
      number(percent(word.probability)),
      changes ? element("td", {}, without === before ? "" : foreign(without)) : "");
  });
  const title = element("p", { hidden: !task }, foreign(`${task}: ${explanation.label}`), ` ${percent(explanation.probability)}`);
  const caption = "Effect: decrease of the log odds of the label without the words. " +
    `Without: its probability without them. ${words.length + 1} predictions in ${Math.round(explanation.milliseconds)} ms.`;
  return element("div", {}, title, legend(), marked(text, words, largest),
    table(caption, ["Words", "", "Effect", "Without", ...(changes ? ["Then"] : [])], rows, "effects"));
}

function legend() {
  return element("p", { className: "key" },
    element("span", {}, element("mark", { className: "for" }, "supports the label")),
    element("span", {}, element("mark", { className: "against" }, "speaks against it")),
    element("span", {}, "with a background: a strong effect"));
}

// Return the text with its words marked, or a phrase as a whole if its effect is larger than those of its words.
// The positions count characters, not UTF-16 units.
function marked(text, words, largest) {
  const characters = Array.from(text);
  const spans = words.flatMap((word) => word.spans.map(([start, end]) => ({ start, end, effect: word.effect })));
  const chosen = [];
  for (const span of spans.sort((one, other) => Math.abs(other.effect) - Math.abs(one.effect))) {
    if (!chosen.some((other) => span.start < other.end && other.start < span.end)) chosen.push(span);
  }
  chosen.sort((one, other) => one.start - other.start);
  const shown = element("div", { className: "shown", dir: "auto", tabIndex: 0, role: "region", "aria-label": "Text with its words marked" });
  let done = 0;
  const until = (end) => characters.slice(done, end).join("");
  for (const { start, end, effect } of chosen) {
    const share = Math.abs(effect) / largest;
    shown.append(until(start));
    done = start;
    const strength = share >= STRONG ? " strong" : "";
    if (share < WEAK) shown.append(until(end));
    else shown.append(element("mark", { className: (effect < 0 ? "against" : "for") + strength, title: signed(effect) }, until(end)));
    done = end;
  }
  shown.append(until(characters.length));
  return shown;
}

// Show terms with their descriptions.
export function terms(pairs) {
  return pairs.flatMap(([term, description]) => [element("dt", {}, term), element("dd", {}, description)]);
}

// Show how often each label was given. An answer has one label, or with several any number.
export function countsView(counts, shown, several) {
  const total = counts.reduce((sum, [, number]) => sum + number, 0);
  const rows = counts.slice(0, shown).map(([label, times]) =>
    element("tr", {}, element("th", { scope: "row" }, foreign(label)), bar(times / Math.max(1, counts[0][1])), number(count(times))));
  const rest = counts.length > shown ? `; ${count(counts.length - shown)} other labels are not shown` : "";
  const name = several ? "label" : "answer";
  return table(`${count(total)} ${name}${total === 1 ? "" : "s"}${several ? " in all answers" : ""}${rest}`, ["Label", "", "Texts"], rows);
}
