// Read and write tables by the rules of tokensieve/data: CSV, TSV, JSON Lines, and files with one text per line.

const SEPARATORS = [",", ";", "\t", "|"];
const SAMPLE = 2 ** 20; // characters of a TSV file that decide on its quotes
const FORMATS = { csv: readCsv, tsv: readTsv, jsonl: readJson, ndjson: readJson, txt: readText };

// Return the content of a file as text. Files that are not UTF-8 are read as UTF-16 or Windows-1252.
// A file with NUL, or with control characters besides, is no text.
export function decode(bytes) {
  const utf16 = bytes[0] === 0xff && bytes[1] === 0xfe ? "utf-16le" : bytes[0] === 0xfe && bytes[1] === 0xff ? "utf-16be" : "";
  let text, encoding = utf16 ? "UTF-16" : "UTF-8";
  try {
    text = new TextDecoder(utf16 || "utf-8", { fatal: true }).decode(bytes);
  } catch {
    [text, encoding] = [new TextDecoder("windows-1252").decode(bytes), "Windows-1252"];
  }
  const strange = encoding === "Windows-1252" ? /[\0-\x08\x0e-\x1f\x7f]/ : /\0/;
  if (strange.test(text)) throw new Error("the content is not text; save it as text in UTF-8");
  return { text, encoding };
}

// Refuse a file by its name, before it is read.
export function checkName(name) {
  const ending = endingOf(name);
  if (!(ending in FORMATS)) {
    const shown = ending ? `the ending .${ending} is not read here` : "the name has no ending";
    throw new Error(`${shown}; allowed: ${Object.keys(FORMATS).map((known) => `.${known}`).join(", ")}. tokensieve predict reads more formats`);
  }
}

// Return {header, rows} of a file, each row with its cells as text. The header is null if the file has no columns.
// A cell that is not a text, such as a number in JSON, has its source; `row.wrong` has the places of these cells.
export function readTable(text, name) {
  checkName(name);
  const { header, rows } = FORMATS[endingOf(name)](text);
  if (rows.some((row) => row.wrong) || !hasSafeCells(header ?? [])) return { header, rows };
  return { header: header.map(plainCell), rows: rows.map((row) => row.map(plainCell)) };
}

const endingOf = (name) => (name.includes(".") ? name.toLowerCase().split(".").pop() : "");

// As in normalize.py: whether a text has no visible character.
export const isBlank = (text) => /^[\s\p{Cc}\p{Cf}\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\u{e0100}-\u{e01ef}]*$/u.test(text);

export function readLines(text) {
  return text.split(/\r\n|\n|\r/).filter((line) => !isBlank(line));
}

function readText(text) {
  return { header: null, rows: readLines(text).map((line) => [line]) };
}

function readJson(text) {
  const objects = [];
  for (const [place, line] of text.split("\n").entries()) {
    if (!line.trim()) continue;
    let value;
    try { value = JSON.parse(line); } catch { /* reported below */ }
    if (value === null || typeof value !== "object" || Array.isArray(value)) throw new Error(`line ${place + 1} is not a JSON object`);
    objects.push(sources(line, place + 1));
  }
  const header = [...new Set(objects.flatMap((values) => [...values.keys()]))];
  const rows = objects.map((values) => {
    const cells = header.map((name) => cellOf(values.get(name)));
    cells.wrong = header.flatMap((name, place) => (/^(?!"|null$)/.test(values.get(name) ?? "null") ? [place] : []));
    return cells;
  });
  return { header, rows };
}

function cellOf(source = "null") {
  if (source === "null") return "";
  return source.startsWith('"') ? JSON.parse(source) : source;
}

// Return the values of a JSON object as they are written, by key. JSON.parse would round long numbers.
function sources(line, number) {
  const found = new Map();
  let depth = 0, key = null, start = 0;
  const end = (place) => { if (key !== null) found.set(key, line.slice(start, place).trim()); key = null; };
  for (const { 0: mark, index } of line.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\],:]/g)) {
    if (depth === 1 && key === null && mark[0] === '"') {
      key = JSON.parse(mark);
      if (found.has(key)) throw new Error(`line ${number} has the key "${key}" twice; keep one`);
    } else if (depth === 1 && mark === ":") start = index + 1;
    else if (depth === 1 && (mark === "," || mark === "}")) end(index);
    if ("{[".includes(mark)) depth++;
    if ("}]".includes(mark)) depth--;
  }
  return found;
}

function readCsv(text) {
  const first = text.split("\n", 1)[0].split("\r", 1)[0];
  if (/^sep=.$/i.test(first)) {
    const begin = text.indexOf("\n") + 1;
    return tableOf(begin ? text.slice(begin) : "", first[4], true, 2);
  }
  const cells = (mark) => [...records(first, mark, true, false)][0]?.cells.length ?? 0;
  return tableOf(text, cells(",") > 1 ? "," : SEPARATORS.reduce((best, mark) => (cells(mark) > cells(best) ? mark : best)), true);
}

// Some programs write quotes around a cell with a tab or a line end, and others write every character as it is.
// Quotes are characters if they cannot be read as quotes, or would join lines each of which is a row already.
// The header and the lines from the first quote on decide: those before are the same with and without quotes.
function readTsv(text) {
  const begin = text.lastIndexOf("\n", text.indexOf('"')) + 1;
  const end = text.length > begin + SAMPLE ? text.indexOf("\n", begin + SAMPLE) + 1 || text.length : text.length;
  const header = begin ? text.slice(0, text.indexOf("\n") + 1) : "";
  return tableOf(text, "\t", quotesIn(header + text.slice(begin, end), end < text.length));
}

function quotesIn(sample, isCut) {
  if (!sample.includes('"')) return false;
  const plain = new Set(sample.split("\n").filter((line) => line.replace("\r", "")).map((line) => line.split("\t").length));
  let rows;
  try { rows = [...records(sample, "\t", true)].map(({ cells }) => cells); } catch (error) { return isCut && error.isOpen && plain.size > 1; }
  const widths = new Set(rows.map((row) => row.length));
  const joins = rows.some((row) => row.some((cell) => cell.includes("\n")));
  return widths.size === 1 && !(joins && plain.size === 1 && plain.has(rows[0].length));
}

// `first` is the number of the first line.
function tableOf(text, mark, hasQuotes, first = 1) {
  const [header = [], ...rows] = Array.from(records(text, mark, hasQuotes, true, first), ({ cells, line }) => Object.assign(cells, { line }));
  const twice = header.find((name, place) => header.indexOf(name) !== place);
  if (twice !== undefined) throw new Error(`two columns have the name "${twice}"; rename one`);
  for (const [place, row] of rows.entries()) {
    if (row.length !== header.length) {
      throw new Error(`row ${place + 1} (line ${row.line}) has ${row.length} columns, the header ${header.length}; put quotes around a text that contains the separator`);
    }
  }
  return { header: [...header], rows };
}

// Yield the cells and the first line of each record of RFC 4180. Quotes within an unquoted cell stay as they are.
function* records(text, mark, hasQuotes, isStrict = true, first = 1) {
  let cells = [], cell = "", line = first, start = first, opened = first, state = "begin"; // or plain, quoted, closed
  const refuse = (reason) => Object.assign(new Error(`the row from line ${start} ${reason}`), { isOpen: state === "quoted" });
  for (let place = 0; place < text.length; place++) {
    const character = text[place];
    const ends = character === "\n" || character === "\r";
    if (character === "\n") line++;
    if (state === "quoted") {
      if (character !== '"') cell += character;
      else if (text[place + 1] === '"') { cell += '"'; place++; }
      else state = "closed";
    } else if (hasQuotes && character === '"' && state === "begin") { state = "quoted"; opened = line; }
    else if (character === mark) { cells.push(cell); cell = ""; state = "begin"; }
    else if (ends) {
      if (cells.length || state !== "begin") yield { cells: [...cells, cell], line: start };
      [cells, cell, state] = [[], "", "begin"];
      while (character === "\r" && text[place + 1] === "\r") place++;
      if (character === "\r" && text[place + 1] === "\n") { place++; line++; }
      else if (character === "\r" && place + 1 < text.length && isStrict) throw refuse("has a carriage return without a line feed; end lines with LF or CRLF");
      start = line;
    } else {
      if (state === "closed" && isStrict) throw refuse("has a character after the quote that closes a text; double the quotes inside a quoted text");
      cell += character;
      state = "plain";
    }
  }
  if (state === "quoted" && isStrict) throw refuse(`has a quote in line ${opened} that is never closed; close it, or double the quotes inside a quoted text`);
  if (cells.length || state !== "begin") yield { cells: [...cells, cell], line: start };
}

// As in safe_cells.py: a cell that a spreadsheet would take for a formula gets an apostrophe, unless it is a number. It is
// taken off when a table of predictions is read, which is known by its columns.
const FORMULA = /^[\0']*[=+\-@\t\r]/;
const NUMBER = /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i;
const safeCell = (cell) => (FORMULA.test(cell) && !NUMBER.test(cell) ? `'${cell}` : cell);
const plainCell = (cell) => (cell.startsWith("'") && FORMULA.test(cell) ? cell.slice(1) : cell);

const hasSafeCells = (header) => ["predicted", "second", "uncertain"].every((name) => header.includes(name))
  || header.some((name) => name.endsWith("uncertain") && header.includes(name.replace(/uncertain$/, "truncated")));

// Return a CSV file. It begins with a byte order mark, without which Excel does not read UTF-8. No cell is a formula.
export function writeCsv(rows) {
  const quoted = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const cell = (value) => quoted(safeCell(value));
  return "\ufeff" + rows.map((row) => row.map((value) => cell(String(value))).join(",") + "\r\n").join("");
}
