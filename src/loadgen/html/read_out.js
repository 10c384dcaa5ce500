// Read-outs under the pointer, and the Copy button. The page reads well without it.
// Values come back from the drawn lines: a thousandth of the height is finer than three digits need on a
// log scale, and than a pixel on any.
(function () {
  "use strict";
  function trim(v, decimals) { return String(Number(v.toFixed(decimals))); }
  function three(v) {
    var a = Math.abs(v);
    return a >= 100 ? v.toFixed(0) : a >= 10 ? v.toFixed(1) : trim(v, 2);
  }
  function value(v, unit, words) {
    if (unit === "latency") {
      return v >= 1e6 ? three(v / 1e6) + " s" : v >= 1e3 ? three(v / 1e3) + " ms" : v.toFixed(0) + " µs";
    }
    if (unit === "percent") { return v.toFixed(0) + " %"; }
    if (unit === "mega") { return three(v) + (words.indexOf("/s") >= 0 ? " MB/s" : " MB"); }
    return Math.round(v).toLocaleString("en") + " /s";
  }
  function moment(s) {
    if (s >= 7200) { return Math.floor(s / 3600) + " h " + Math.floor(s % 3600 / 60) + " min"; }
    if (s >= 180) { return Math.floor(s / 60) + " min " + Math.floor(s % 60) + " s"; }
    return s.toFixed(1) + " s";
  }
  function where(x, kind, to) {
    if (kind === "time") { return moment(x * to); }
    if (kind === "number") { return Math.round(x * to).toLocaleString("en") + " records/s"; }
    var nines = x * to;
    return trim(100 * (1 - Math.pow(10, -nines)), Math.max(1, Math.ceil(nines))) + " %";
  }
  function points(path) {
    var found = [];
    path.getAttribute("d").replace(/[ML]([\d.]+),([\d.]+)/g, function (_, x, y) {
      found.push([Number(x) / 1000, 1 - Number(y) / 1000]);
      return "";
    });
    return found;
  }
  function nearest(all, x) {
    return all.reduce(function (best, p) {
      return best === null || Math.abs(p[0] - x) < Math.abs(best[0] - x) ? p : best;
    }, null);
  }
  Array.prototype.forEach.call(document.querySelectorAll(".area"), function (area) {
    var data = area.dataset, lines = null, box = null, hair = null;
    var from = Number(data.yFrom), to = Number(data.yTo);
    function shown(y) {
      return data.y === "log" ? from * Math.pow(to / from, y) : from + (to - from) * y;
    }
    function hide() {
      if (box) { box.hidden = hair.hidden = true; }
    }
    function show(event) {
      if (lines === null) {
        lines = Array.prototype.map.call(area.querySelectorAll("path.line"), function (path) {
          return { label: path.dataset.label, points: points(path), mark: path.getAttribute("class") };
        });
        box = document.createElement("div");
        box.className = "readout";
        hair = document.createElement("div");
        hair.className = "hair";
        area.appendChild(hair);
        area.appendChild(box);
      }
      var frame = area.querySelector("svg[role=img]").getBoundingClientRect();
      var x = (event.clientX - frame.left) / frame.width;
      var all = lines.map(function (line) { return nearest(line.points, x); });
      var at = nearest(all.filter(Boolean), x);
      if (at === null || x < -0.02 || x > 1.02) { hide(); return; }
      box.hidden = hair.hidden = false;
      box.textContent = "";
      var head = document.createElement("b");
      head.textContent = where(at[0], data.x, Number(data.xTo));
      box.appendChild(head);
      lines.forEach(function (line, i) {
        if (!all[i] || Math.abs(all[i][0] - at[0]) > 0.03) { return; }
        var row = document.createElement("div"), name = document.createElement("span");
        var much = document.createElement("span");
        row.className = line.mark.replace("line", "named");
        name.textContent = line.label;
        much.textContent = value(shown(all[i][1]), data.unit, data.words);
        row.appendChild(name);
        row.appendChild(much);
        box.appendChild(row);
      });
      hair.style.left = 100 * at[0] + "%";
      box.style.left = at[0] > 0.5 ? "auto" : "calc(" + 100 * at[0] + "% + 10px)";
      box.style.right = at[0] > 0.5 ? "calc(" + 100 * (1 - at[0]) + "% + 10px)" : "auto";
    }
    area.addEventListener("pointermove", show);
    area.addEventListener("pointerdown", show);
    area.addEventListener("pointerleave", hide);
  });
  Array.prototype.forEach.call(document.querySelectorAll("button.copy"), function (button) {
    if (!navigator.clipboard) { return; }
    button.hidden = false;
    button.addEventListener("click", function () {
      navigator.clipboard.writeText(button.parentNode.querySelector("code").textContent).then(function () {
        button.textContent = "Copied";
        setTimeout(function () { button.textContent = "Copy"; }, 1500);
      });
    });
  });
}());
