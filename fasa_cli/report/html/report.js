"use strict";
// Everything a file says of itself is set as text, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}
function draw(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
const named = (text, className = "") => make("bdi", { className, dir: "auto" }, text);
const number = (value) => value.toLocaleString("en-GB");
const counted = (value, one, many) => `${number(value)} ${value === 1 ? one : many}`;
const score = (value) => value > 0.9994 ? "> 0.999" : value.toFixed(3);
function share(fraction) {
  const percent = fraction * 100;
  if (percent > 0 && percent < 0.01) return "under 0.01 %";
  return `${percent.toFixed(percent === 0 || percent >= 10 ? 0 : percent >= 1 ? 1 : 2)} %`;
}
const sizeOf = ([width, height]) => `${width} × ${height}`;
function picture(kind, photo) {
  if (!photo.pictures.includes(kind)) return null;
  return `data:image/webp;base64,${byId(kind + photo.index).textContent}`;
}
function set(id, text) {
  byId(id).textContent = text;
}
function showIf(id, condition) {
  byId(id).hidden = !condition;
}

const photos = data.photos.map((photo, index) => ({ ...photo, index, failed: false }));
const failures = data.failures.map((failure) => ({ ...failure, failed: true }));
const everything = [...photos, ...failures];
const counts = data.counts;
const run = new Map(data.run);

// --- The head -------------------------------------------------------------------------------

function headline() {
  const failed = counts.failures
    ? `${counted(counts.failures, "file was", "files were")} not analysed`
    : "";
  if (!counts.photos) {
    if (!counts.failures) return "The scan found no photos";
    return counts.failures === 1 ? "The file could not be analysed" : `None of ${number(counts.failures)} files could be analysed`;
  }
  const marks = counts.marked === 0
    ? `No marks in ${counted(counts.photos, "photo", "photos")}`
    : counts.photos === 1
      ? "The photo has marks"
      : `${number(counts.marked)} of ${number(counts.photos)} photos ${counts.marked === 1 ? "has" : "have"} marks`;
  return failed ? `${marks}; ${failed}` : marks;
}

function showHead() {
  set("headline", headline().replace(/(\d) /g, "$1\u00a0"));
  document.title = `${headline()} · fasa report`;
  const started = run.get("Started");
  set("standfirst", `${started ? `Scanned on ${started}, at` : "At"} threshold ${data.threshold}. `
    + "The photos to which the model reacts most strongly come first.");
  const skipped = Object.values(counts.skipped).reduce((sum, value) => sum + value, 0);
  const figures = [
    ["analysed", counts.photos, ""],
    ["with marks", counts.marked, ""],
    ["not analysed", counts.failures, counts.failures ? "alarm" : ""],
    ["skipped by the scan", skipped, ""],
  ];
  showIf("about", data.about.length);
  byId("about").append(...data.about.flatMap(([label, value]) => fact(label, value)));
  showIf("expected", data.bands.length);
  set("expected-text", `${data.calibration} Of as many untouched photos as are here, some reach each band too.`);
  byId("expected-rows").append(...data.bands.map(([band, here, expected]) => make("tr", {},
    make("td", {}, band), make("td", {}, number(here)), make("td", {}, expected))));
  byId("figures").append(...figures.map(([label, value, className]) =>
    make("div", { className }, make("dt", {}, label), make("dd", {}, number(value)))));
  for (const place of document.querySelectorAll(".threshold")) place.textContent = data.threshold;
  if (data.status !== "complete") {
    showIf("incomplete", true);
    set("incomplete", data.remaining
      ? `The scan was interrupted: ${counted(data.remaining, "file was", "files were")} not analysed. The same command again resumes the scan.`
      : "The scan has not ended; this is what it had found so far.");
  }
  showFailures();
  showLeftOut();
  const kinds = Object.entries(counts.skipped).map(([kind, value]) => `${number(value)} ${kind}`);
  if (kinds.length) run.set("Skipped", kinds.join(", "));
  byId("run").append(...[...run].flatMap(([label, value]) => fact(label, value)));
  set("redaction", data.redacted.length
    ? `Left out on purpose: ${data.redacted.map((word) => ({ paths: "where files lie on the computer", gps: "positions in photos" })[word]).join(" and ")}.`
    : "Nothing was left out on purpose: paths and positions are as they were found.");
  set("colophon", `Written by fasa ${data.version} on ${data.made}. This file opens no connection and needs no other file.`);
}

function fact(label, value) {
  const hash = label.includes("SHA") || label === "Command";
  return [make("dt", {}, label), make("dd", { className: hash ? "hash" : "" }, named(value))];
}

function showFailures() {
  showIf("failures", failures.length);
  showIf("to-failures", failures.length);
  if (!failures.length) return;
  set("failures-title", `${counted(counts.failures, "file was", "files were")} not analysed`);
  const rows = failures.map((failure) => make("li", {},
    named(failure.name, "file-name"), named(failure.reason),
    make("span", { className: "stage-of" }, failure.kind)));
  const shown = 8;
  byId("failure-list").append(...rows.slice(0, shown));
  showIf("all-failures", rows.length > shown);
  set("all-failures", `Show all ${number(rows.length)}`);
  byId("all-failures").onclick = () => {
    byId("failure-list").append(...rows.slice(shown));
    showIf("all-failures", false);
  };
}

function showLeftOut() {
  const notes = [];
  const listed = photos.length;
  if (counts.unlisted) notes.push(`${counted(counts.unlisted, "photo", "photos")} with lower scores are not listed; results.csv of the scan has them all.`);
  if (counts.unlisted_failures) notes.push(`${counted(counts.unlisted_failures, "more file was", "more files were")} not analysed; errors.jsonl of the scan has them all.`);
  if (counts.unreadable) notes.push(counts.unreadable === 1
    ? "1 photo is no longer where the scan found it, or has changed; its picture is missing."
    : `${number(counts.unreadable)} photos are no longer where the scan found them, or have changed; their pictures are missing.`);
  const readable = listed - counts.unreadable;
  if (counts.previews < readable) notes.push(`To keep this file small, large pictures are in it for ${number(counts.previews)} of the ${number(listed)} listed photos and small ones for ${number(counts.thumbnails)}. Marks of the others: fasa overlay.`);
  showIf("left-out", notes.length);
  set("left-out", notes.length ? `Left out. ${notes.join(" ")}` : "");
}

// --- The contact sheet ----------------------------------------------------------------------

const collator = new Intl.Collator("en", { numeric: true });
const byName = (a, b) => collator.compare(a.name, b.name);
const by = (field, sign) => (a, b) => sign * (a[field] - b[field]) || a.index - b.index;
const last = (order) => (a, b) => a.failed - b.failed || (a.failed ? byName(a, b) : order(a, b));
const ORDERS = {
  "rank": last((a, b) => a.index - b.index),
  "score": last(by("score", -1)),
  "score-up": last(by("score", 1)),
  "area": last(by("area", -1)),
  "area-up": last(by("area", 1)),
  "name": byName,
  "name-down": (a, b) => byName(b, a),
  "status": (a, b) => b.failed - a.failed || (a.failed ? byName(a, b) : by("score", -1)(a, b)),
};
const STATUSES = {
  all: () => true,
  marked: (item) => !item.failed && item.region_count > 0,
  unmarked: (item) => !item.failed && item.region_count === 0,
  cautions: (item) => !item.failed && item.warnings.length > 0,
  failed: (item) => item.failed,
};
let chosen = everything;
let page = 0;

function choose() {
  const text = byId("name").value.trim().toLowerCase();
  const least = Number(byId("score").value);
  const area = Number(byId("area").value) / 100;
  const status = STATUSES[byId("status").value];
  set("score-shown", least);
  set("area-shown", `${byId("area").value} %`);
  chosen = everything.filter((item) => status(item)
    && (!text || item.name.toLowerCase().includes(text))
    && ((least === 0 && area === 0) || (!item.failed && item.score >= least && item.area >= area)));
  chosen.sort(ORDERS[byId("sort").value]);
  page = 0;
  showPage();
}

function showPage() {
  const size = Number(byId("size").value);
  const pages = Math.max(1, Math.ceil(chosen.length / size));
  page = Math.min(page, pages - 1);
  const shown = chosen.slice(page * size, (page + 1) * size);
  byId("grid").replaceChildren(...shown.map((item) => make("li", {}, item.failed ? failedCard(item) : card(item))));
  set("found", chosen.length === everything.length
    ? everything.length ? `All ${number(everything.length)}` : ""
    : `${number(chosen.length)} of ${number(everything.length)}`);
  showIf("reset", chosen.length !== everything.length);
  showIf("pager", pages > 1);
  set("page", `Page ${page + 1} of ${pages}`);
  byId("page-back").disabled = page === 0;
  byId("page-on").disabled = page === pages - 1;
  showEmpty();
}

function showEmpty() {
  showIf("empty", !chosen.length);
  if (chosen.length) return;
  const box = byId("empty");
  if (everything.length) {
    box.replaceChildren(make("h3", {}, "No photo fits these filters"),
      make("p", {}, "Lower the score or the area, clear the name, or show everything again."),
      make("button", { type: "button", onclick: reset }, "Show everything"));
  } else {
    box.replaceChildren(make("h3", {}, "The scan found no photos"),
      make("p", {}, "What it met and left out is counted above. Name photos, or folders with photos, and scan again."));
  }
}

function reset() {
  byId("tools").reset();
  choose();
}

function card(photo) {
  const frame = make("span", { className: "frame" });
  const source = picture("t", photo);
  if (source) {
    frame.append(draw("svg", { viewBox: `0 0 ${photo.size.join(" ")}`, "aria-hidden": "true" },
      draw("image", { href: source, width: photo.size[0], height: photo.size[1], preserveAspectRatio: "none" }),
      ...damage(photo, "card"), ...photo.outlines.map(outline)));
  } else {
    frame.append(make("span", { className: "missing" }, photo.problem ? "The photo is no longer there" : "No picture in this file"));
  }
  const bar = make("i");
  bar.style.width = `${(photo.band ? strength(photo) : photo.score) * 100}%`;
  const line = make("span", { className: "card-line" }, photo.region_count
    ? `${share(photo.area)} in ${counted(photo.region_count, "region", "regions")}`
    : "no marks");
  if (photo.damaged.length) line.append(" · ", make("span", { className: "care" }, `${share(photo.damaged_share)} damaged`));
  if (photo.same > 1) line.append(` · the same file ${number(photo.same)} times`);
  if (photo.warnings.length) line.append(" · ", make("span", { className: "care" }, counted(photo.warnings.length, "warning", "warnings")));
  return make("a", { className: "card", href: `#photo-${photo.index}`, id: `card-${photo.index}` },
    frame,
    make("span", { className: "card-name", title: photo.name }, named(photo.name)),
    make("span", { className: "meter" },
      make("span", { className: "track", ariaHidden: "true" }, bar),
      photo.band
        ? make("b", { ariaLabel: `band ${photo.band}` }, photo.band)
        : make("b", { ariaLabel: `score ${score(photo.score)}` }, score(photo.score))),
    ...(photo.one_in ? [make("span", { className: "card-line" }, `${photo.one_in} untouched photos`)] : []),
    line);
}

// The bar of a band: full where no untouched photo scores as high, half at 1 in 10.
function strength(photo) {
  return Math.min(1, Math.max(0, -Math.log10(photo.rate) / 2));
}

function failedCard(failure) {
  return make("div", { className: "card failed" },
    make("span", { className: "frame" }, "Not analysed"),
    make("span", { className: "card-name", title: failure.name }, named(failure.name)),
    make("span", { className: "card-line" }, named(failure.reason)));
}

function outline(path) {
  return draw("g", { class: "region" },
    draw("path", { class: "outline-rim", d: path }), draw("path", { class: "outline-line", d: path }));
}

// Hatching over a file's damaged pixels, in which nothing is marked.
function damage(photo, where) {
  if (!photo.damaged.length) return [];
  const id = `hatching-${where}-${photo.index}`;
  const period = Math.max(8, Math.max(...photo.size) / 40); // pixels of the photo
  const line = (colour, at) => draw("rect", { x: at, width: period / 8, height: period, fill: colour });
  const pattern = draw("pattern", {
    id, width: period, height: period, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)",
  }, line("#181818", 0), line("#fff", period / 8));
  return [draw("defs", {}, pattern), ...photo.damaged.map(([x, y, width, height]) =>
    draw("rect", { class: "damaged", x, y, width, height, fill: `url(#${id})` }))];
}

function turnPage(step) {
  page += step;
  showPage();
  byId("sheet").scrollIntoView();
  byId("sheet").focus({ preventScroll: true });
}

// --- One photo ------------------------------------------------------------------------------

let photo = null;
let view = null; // the part of the photo that is shown: x, y, width, height in its pixels
let scrolled = 0;
const MOST_ZOOM = 32;

function openPhoto(index) {
  photo = photos[index];
  const among = chosen.filter((item) => !item.failed);
  const place = among.indexOf(photo);
  set("place", place < 0 ? "outside the filters" : `${number(place + 1)} of ${number(among.length)}`);
  link("previous", among[place - 1]);
  link("next", place < 0 ? among[0] : among[place + 1]);
  byId("photo-name").replaceChildren(named(photo.name));
  document.title = `${photo.name} · fasa report`;
  byId("photo-line").replaceChildren("Score ", make("b", {}, score(photo.score)), photo.region_count
    ? ` · ${share(photo.area)} of the picture marked, in ${counted(photo.region_count, "region", "regions")}`
    : ` · nothing marked above ${data.threshold}`);
  byId("meaning-of-photo").replaceChildren(...meaningOf(photo));
  showParts();
  showStage();
  showWarnings();
  showRegions();
  showCopies();
  showFile();
}

function showParts() {
  const parts = [];
  if (photo.score_network !== null) parts.push(`Network alone ${score(photo.score_network)}`);
  if (photo.copies.length) parts.push(`copy-move marks alone ${score(photo.score_copy_move)}`);
  if (photo.lowered) parts.push(`weak marks taken away by hysteresis on ${share(photo.lowered)} of the picture`);
  if (photo.damaged.length) parts.push(`damaged (hatched) ${share(photo.damaged_share)} of the picture, where nothing is marked; the network marks ${share(photo.damaged_marked)} there`);
  showIf("parts", parts.length);
  set("parts", parts.join(" · "));
}

function link(id, target) {
  if (target) byId(id).href = `#photo-${target.index}`;
  else byId(id).removeAttribute("href");
}

function showStage() {
  const [width, height] = photo.size;
  const stage = byId("stage");
  const source = picture("p", photo) || picture("t", photo);
  const heat = picture("h", photo);
  const box = { width, height, preserveAspectRatio: "none" };
  stage.style.aspectRatio = `${width} / ${height}`;
  stage.style.setProperty("--ratio", width / height);
  byId("original").setAttribute("aria-label", `The photo ${photo.name}`);
  byId("original").replaceChildren(...(source ? [draw("image", { ...box, href: source })] : []));
  byId("marks").replaceChildren(
    ...(heat ? [draw("image", { ...box, href: heat, id: "heat" })] : []),
    ...damage(photo, "stage"),
    draw("g", { id: "outlines", class: heat ? "" : "flat" }, ...photo.outlines.map(outline)));
  const notes = [];
  if (!source) notes.push(photo.problem || "This report holds no picture of this photo, to keep the file small. Its marks: fasa overlay.");
  showIf("stage-note", notes.length);
  byId("stage-note").replaceChildren(named(notes.join(" ")));
  showIf("handle", source && (heat || photo.outlines.length));
  showIf("legend", heat);
  showIf("tools-of-stage", source);
  const large = photo.pictures.includes("p");
  showIf("no-heat", source && !heat && (!large || photo.outlines.length));
  set("no-heat", large
    ? "The tint is the mask: the scan kept no heat map. With --probabilities or --report it does."
    : "To keep this file small it has only a small picture of this photo, and no heat map. In full: fasa overlay.");
  byId("gradient").style.background = `linear-gradient(to right, ${data.gradient.join(", ")})`;
  byId("threshold-tick").style.left = `${data.threshold * 100}%`;
  byId("compare").value = 0;
  compare();
  opacity();
  showOutlines();
  fit();
}

function compare() {
  const share = Number(byId("compare").value);
  byId("marks").style.clipPath = `inset(0 0 0 ${share}%)`;
  byId("handle").style.left = `${share}%`;
  const width = byId("stage").clientWidth; // the knob stays within the stage, the line need not
  const at = (share / 100) * width;
  byId("handle").firstElementChild.style.transform = `translateX(${Math.min(Math.max(at, 18), width - 18) - at}px)`;
  set("compare-shown", `${share} %`);
}

function opacity() {
  const value = byId("opacity").value / 100;
  if (byId("heat")) byId("heat").setAttribute("opacity", value);
  byId("stage").style.setProperty("--heat", value);
  set("opacity-shown", `${Math.round(value * 100)} %`);
}

function showOutlines() {
  byId("outlines").style.display = byId("outline").checked ? "" : "none";
}

function fit() {
  look(0, 0, 1);
}

function look(x, y, zoom) {
  const [width, height] = photo.size;
  zoom = Math.min(MOST_ZOOM, Math.max(1, zoom));
  const [w, h] = [width / zoom, height / zoom];
  view = { x: Math.min(Math.max(0, x), width - w), y: Math.min(Math.max(0, y), height - h), width: w, height: h, zoom };
  for (const id of ["original", "marks"]) byId(id).setAttribute("viewBox", `${view.x} ${view.y} ${w} ${h}`);
  byId("stage").classList.toggle("zoomed", zoom > 1);
  const magnified = byId("stage").clientWidth / w;
  for (const image of document.querySelectorAll("#original image")) image.classList.toggle("pixels", magnified > 4);
  set("zoom-shown", `${zoom.toFixed(zoom < 10 && zoom % 1 ? 1 : 0)}×`);
  byId("zoom-out").disabled = zoom <= 1;
  byId("zoom-in").disabled = zoom >= MOST_ZOOM;
}

function zoomBy(factor, at = { x: 0.5, y: 0.5 }) {
  const zoom = Math.min(MOST_ZOOM, Math.max(1, view.zoom * factor));
  const [width, height] = photo.size;
  look(view.x + at.x * (view.width - width / zoom), view.y + at.y * (view.height - height / zoom), zoom);
}

function showWarnings() {
  const warnings = photo.problem && photo.pictures ? [...photo.warnings, photo.problem] : photo.warnings;
  showIf("warnings", warnings.length);
  byId("warning-list").replaceChildren(...warnings.map((text) => make("li", {}, named(text))));
  showIf("findings", photo.findings.length);
  byId("finding-list").replaceChildren(...photo.findings.map((one) => make("li", {},
    make("strong", {}, one.severity), " ", named(one.text), " ", make("em", {}, one.limits))));
}

function showRegions() {
  const [width, height] = photo.size;
  showIf("regions", photo.regions.length);
  showIf("no-regions", !photo.regions.length);
  set("no-regions", `No pixel is above ${data.threshold}. That does not show that the photo is authentic.`);
  byId("region-rows").replaceChildren(...photo.regions.map((region, index) => {
    const [x, y, w, h] = region.box;
    const button = make("button", { type: "button", title: `x ${x}, y ${y}, ${w} × ${h} pixels` }, `${index + 1}: ${w} × ${h} px`);
    const row = make("tr", {}, make("td", {}, button), make("td", {}, share(region.area / (width * height))),
      make("td", {}, score(region.mean)), make("td", {}, score(region.peak)));
    button.onclick = () => chooseRegion(index, row);
    return row;
  }));
  byId("reasons").replaceChildren(...reasonsOf(photo));
  const more = photo.region_count - photo.regions.length;
  showIf("more-regions", more);
  set("more-regions", `and ${counted(more, "smaller one", "smaller ones")}, not listed here`);
}

function meaningOf(photo) {
  const first = photo.band ? [make("b", { className: "band" }, photo.band), " "] : [];
  return [make("p", { className: "meaning" }, ...first, photo.meaning.join(" "))];
}

// A region's picture, what it means, and what speaks for and against its mark.
function reasonsOf(photo) {
  const source = picture("p", photo) || picture("t", photo);
  return photo.regions.flatMap((region, index) => {
    if (!region.findings.length && !region.meaning) return [];
    const [x, y, w, h] = region.box;
    const around = Math.max(w, h, 24) * 0.35;
    const box = [x - around, y - around, w + 2 * around, h + 2 * around];
    const crop = source && draw("svg", { viewBox: box.join(" "), class: "crop", role: "img", "aria-label": `Region ${index + 1}` },
      draw("image", { href: source, width: photo.size[0], height: photo.size[1], preserveAspectRatio: "none" }),
      ...(photo.outlines[index] ? [outline(photo.outlines[index])] : []));
    const listed = (speaks, title) => {
      const found = region.findings.filter(([side]) => side === speaks);
      return found.length ? [make("h4", {}, title), make("ul", {}, ...found.map(([, text]) => make("li", {}, text)))] : [];
    };
    return [make("article", { className: "reason" }, make("h3", {}, `Region ${index + 1}`), ...(crop ? [crop] : []),
      make("div", {}, ...(region.meaning ? [make("p", {}, `${region.meaning}.`)] : []),
        ...listed("for", "For the mark"), ...listed("against", "Against the mark"), ...listed("neither", "Besides")))];
  });
}

function showCopies() {
  showIf("copies", photo.copies.length);
  byId("copy-rows").replaceChildren(...photo.copies.map((copy) => {
    const row = make("tr", {}, ...copy.boxes.map((box) => {
      const [x, y, w, h] = box;
      const button = make("button", { type: "button", title: `x ${x}, y ${y}, ${w} × ${h} pixels` }, `${w} × ${h} px`);
      button.onclick = () => lookAt(box);
      return make("td", {}, button);
    }), make("td", {}, number(copy.matches)), make("td", {}, score(copy.probability)));
    return row;
  }));
}

function chooseRegion(index, row) {
  const already = row.classList.contains("chosen");
  for (const other of document.querySelectorAll("#photo .chosen")) other.classList.remove("chosen");
  if (already) return fit();
  row.classList.add("chosen");
  document.querySelectorAll("#outlines .region")[index]?.classList.add("chosen");
  lookAt(photo.regions[index].box);
}

function lookAt([x, y, w, h]) {
  const zoom = Math.min(photo.size[0] / w, photo.size[1] / h) / 1.8;
  const kept = Math.min(MOST_ZOOM, Math.max(1, zoom));
  look(x + w / 2 - photo.size[0] / kept / 2, y + h / 2 - photo.size[1] / kept / 2, kept);
  byId("stage").scrollIntoView({ block: "nearest" });
}

function showFile() {
  const quality = photo.quality && `${photo.quality_exact ? "" : "about "}${photo.quality} (estimated from its tables)`;
  const stated = (text) => text || (photo.read ? "not stated" : "");
  const rows = [
    ["File", photo.path],
    ["Format", `${photo.format}, ${number(photo.bytes)} bytes`],
    ["Dimensions", `${sizeOf(photo.size)} pixels${photo.orientation > 1 ? `, turned upright (EXIF ${photo.orientation})` : ""}`],
    ["Seen by the model", `${sizeOf(photo.effective_size)} pixels`],
    ["JPEG quality", quality],
    ["Camera", stated(photo.camera)],
    ["Software", stated(photo.software)],
    ["Date", stated(photo.taken)],
    ["Position", photo.position],
    ["SHA-256", photo.sha256],
  ];
  byId("file").replaceChildren(...rows.filter(([, value]) => value).flatMap(([label, value]) => fact(label, value)));
}

// --- Moving about ---------------------------------------------------------------------------

// The address says what is shown. The browser reports a change only later, so a key goes there
// at once: else a second key would still act on the photo before.
let routed = null;
function goTo(hash) {
  if (!hash) return;
  location.hash = hash;
  route();
}
function route() {
  if (location.hash === routed) return;
  routed = location.hash;
  const match = /^#photo-(\d+)$/.exec(location.hash);
  const index = match && Number(match[1]);
  const opens = match && index < photos.length;
  const was = photo;
  if (opens && byId("photo").hidden) scrolled = scrollY;
  showIf("overview", !opens);
  showIf("photo", opens);
  if (opens) {
    openPhoto(index);
    scrollTo({ top: 0, behavior: "instant" });
    if (document.activeElement === document.body || was === null) byId("photo-name").focus({ preventScroll: true });
  } else {
    photo = null;
    document.title = `${headline()} · fasa report`;
    if (was) {
      scrollTo({ top: scrolled, behavior: "instant" });
      byId(`card-${was.index}`)?.focus({ preventScroll: true });
    } else {
      document.querySelector(location.hash.replace(/[^#\w-]/g, "") || "body")?.scrollIntoView({ behavior: "instant" });
    }
  }
}

const points = { drag: null };
function place(event) {
  const box = byId("stage").getBoundingClientRect();
  return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
}
function slideTo(fraction) {
  byId("compare").value = Math.round(Math.min(1, Math.max(0, fraction)) * 100);
  compare();
}
byId("stage").addEventListener("pointerdown", (event) => {
  if (event.button || !view) return;
  const slides = view.zoom === 1 || byId("handle").contains(event.target);
  points.drag = { slides, from: place(event), view };
  if (slides) slideTo(points.drag.from.x);
  byId("stage").setPointerCapture(event.pointerId);
});
byId("stage").addEventListener("pointermove", (event) => {
  if (!points.drag) return;
  const at = place(event);
  const { from, slides, view: then } = points.drag;
  if (slides) slideTo(at.x);
  else look(then.x - (at.x - from.x) * then.width, then.y - (at.y - from.y) * then.height, then.zoom);
});
for (const kind of ["pointerup", "pointercancel"]) byId("stage").addEventListener(kind, () => { points.drag = null; });
byId("stage").addEventListener("dblclick", (event) => zoomBy(2, place(event)));
byId("stage").addEventListener("wheel", (event) => {
  if (!event.ctrlKey && view.zoom === 1) return; // a plain wheel scrolls the page
  event.preventDefault();
  zoomBy(event.deltaY < 0 ? 1.25 : 0.8, place(event));
}, { passive: false });

document.addEventListener("keydown", (event) => {
  if (!photo || event.altKey || event.ctrlKey || event.metaKey) return;
  const inRange = event.target.type === "range" && event.key.startsWith("Arrow");
  if (inRange) return;
  const act = {
    "ArrowLeft": () => goTo(byId("previous").hash),
    "ArrowRight": () => goTo(byId("next").hash),
    "Escape": () => goTo("#sheet"),
    "+": () => zoomBy(1.5),
    "=": () => zoomBy(1.5),
    "-": () => zoomBy(1 / 1.5),
    "0": fit,
    "o": () => byId("outline").click(),
    "O": () => byId("outline").click(),
  }[event.key];
  if (act) {
    event.preventDefault();
    act();
  }
});

byId("tools").addEventListener("submit", (event) => event.preventDefault());
byId("tools").addEventListener("input", choose);
byId("reset").onclick = reset;
byId("page-back").onclick = () => turnPage(-1);
byId("page-on").onclick = () => turnPage(1);
byId("compare").oninput = compare;
byId("opacity").oninput = opacity;
byId("outline").onchange = showOutlines;
byId("zoom-in").onclick = () => zoomBy(1.5);
byId("zoom-out").onclick = () => zoomBy(1 / 1.5);
byId("zoom-fit").onclick = fit;
// On paper the contact sheet is followed by a page for each photo that has a large picture and a mark.
addEventListener("beforeprint", () => {
  if (photo) return;
  const pages = photos.filter((item) => item.pictures.includes("p") && item.region_count).map((item) => {
    const box = { width: item.size[0], height: item.size[1], preserveAspectRatio: "none" };
    const stage = draw("svg", { viewBox: `0 0 ${item.size.join(" ")}`, class: "print-photo" },
      draw("image", { ...box, href: picture("p", item) }), ...item.outlines.map(outline));
    return make("section", { className: "print-page" },
      make("h2", {}, named(item.name)), ...meaningOf(item), stage,
      make("p", {}, item.region_count ? `${share(item.area)} of the picture marked, in ${counted(item.region_count, "region", "regions")}` : "Nothing is marked."),
      ...reasonsOf(item),
      ...(item.warnings.length ? [make("h3", {}, "Read the score with care"), make("ul", {}, ...item.warnings.map((text) => make("li", {}, named(text))))] : []),
      make("p", { className: "small" }, "SHA-256 ", make("code", {}, item.sha256)));
  });
  byId("print-pages").replaceChildren(...pages);
});
addEventListener("afterprint", () => byId("print-pages").replaceChildren());
addEventListener("hashchange", route);
showHead();
choose();
route();
