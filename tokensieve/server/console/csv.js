// Read and write tables: CSV, TSV, JSON Lines, and files with one text per line.

// Return the content of a file as text. Files that are not UTF-8 are read as UTF-16 or Windows-1252.
export function decode(bytes) {
  const utf16 = bytes[0] === 0xff && bytes[1] === 0xfe ? "utf-16le" : bytes[0] === 0xfe && bytes[1] === 0xff ? "utf-16be" : "";
  if (utf16) return { text: new TextDecoder(utf16).decode(bytes), encoding: "UTF-16" };
  try {
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(bytes), encoding: "UTF-8" };
  } catch {
    return { text: new TextDecoder("windows-1252").decode(bytes), encoding: "Windows-1252" };
  }
}

// Return {header, rows} of a file. The header is null if the file has no columns.
export function readTable(text, name) {
  const ending = name.toLowerCase().split(".").pop();
  if (ending === "jsonl") return readJson(text);
  if (ending === "csv" || ending === "tsv") {
    const [header = [], ...rows] = readRecords(text, ending === "tsv" ? "\t" : separator(text));
    const plain = hasSafeCells(header) ? (record) => record.map(plainCell) : (record) => record;
    return { header: plain(header), rows: rows.map(plain) };
  }
  return { header: null, rows: readLines(text).map((line) => [line]) };
}

export function readLines(text) {
  return text.split(/\r\n|\n|\r/).filter((line) => line.trim());
}

function readJson(text) {
  const objects = readLines(text).map((line, place) => {
    let value;
    try { value = JSON.parse(line); } catch { /* reported below */ }
    if (value === null || typeof value !== "object" || Array.isArray(value)) throw new Error(`line ${place + 1} is not a JSON object`);
    return value;
  });
  const header = [...new Set(objects.flatMap(Object.keys))];
  const cell = (value) => (value === undefined || value === null ? "" : typeof value === "object" ? JSON.stringify(value) : String(value));
  return { header, rows: objects.map((object) => header.map((name) => cell(object[name]))) };
}

// Return the separator that the first line has most often.
function separator(text) {
  const first = text.split(/\r|\n/, 1)[0];
  const count = (mark) => first.split(mark).length;
  return [",", ";", "\t"].reduce((best, mark) => (count(mark) > count(best) ? mark : best));
}

// Return the records of RFC 4180. Quotes within an unquoted cell stay as they are.
function readRecords(text, mark) {
  const records = [];
  let record = [], cell = "", quoted = false, started = false;
  const endCell = () => { record.push(cell); cell = ""; started = false; };
  const endRecord = () => {
    endCell();
    if (record.length > 1 || record[0].trim()) records.push(record);
    record = [];
  };
  for (let place = 0; place < text.length; place++) {
    const character = text[place];
    if (quoted) {
      if (character !== '"') cell += character;
      else if (text[place + 1] === '"') { cell += '"'; place++; }
      else quoted = false;
    } else if (character === '"' && !started) { quoted = started = true; }
    else if (character === mark) endCell();
    else if (character === "\n") endRecord();
    else if (character === "\r") { if (text[place + 1] !== "\n") endRecord(); }
    else { cell += character; started = true; }
  }
  if (cell || record.length) endRecord();
  return records;
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
