"""Samples of `perf record` as flame graphs: one SVG a thread, drawn here, no script inside. A frame's width is its share of
the thread's samples, callers below; kernel, Spindle, its crates and the rest have a colour each; the pointer
over a frame shows its whole name and share."""

import collections
import re
import subprocess
from xml.sax.saxutils import escape, quoteattr

WIDTH, ROW, MARGIN = 1400, 17, 10
SHARE_MIN = 0.0007
KERNEL, OURS, CRATES, REST = "#e8935a", "#7fb069", "#6a9fc0", "#c9b37e"


def stacks(data, threads):
    """{thread name: {stack from the root, a tuple: samples}} of the threads whose name starts so."""
    script = subprocess.run(["perf", "script", "-i", str(data), "-F", "comm,ip,sym,dso"], capture_output=True, text=True)
    out = collections.defaultdict(collections.Counter)
    thread, frames = None, []

    def done():
        if thread is not None and thread.startswith(threads) and frames:
            out[thread][tuple(reversed(frames))] += 1

    for line in script.stdout.splitlines():
        if not line.strip():
            done()
            thread, frames = None, []
        elif not line[0].isspace():
            thread = line.strip()
        elif thread is None:
            thread = line.strip()
        else:
            found = re.match(r"\s*[0-9a-f]+ (.*) \((.*)\)$", line)
            if found:
                frames.append((name(found[1]), kind(found[1], found[2])))
    done()
    return out


def name(symbol):
    """Rust's names without hashes and without what generics add."""
    symbol = re.sub(r"::h[0-9a-f]{16}$", "", symbol)
    symbol = re.sub(r"\+0x[0-9a-f]+$", "", symbol)
    return symbol.replace("{{closure}}", "{}")


def kind(symbol, file):
    if file.startswith("[kernel") or file.startswith("[unknown") and symbol == "[unknown]":
        return KERNEL if file.startswith("[kernel") else REST
    if "spindle::" in symbol:
        return OURS
    return CRATES if "::" in symbol else REST


class Frame:
    def __init__(self):
        self.samples, self.own, self.children = 0, 0, {}


def tree(counted):
    root = Frame()
    for stack, samples in counted.items():
        root.samples += samples
        at = root
        for key in stack:
            at = at.children.setdefault(key, Frame())
            at.samples += samples
        at.own += samples
    return root


def svg(title, counted):
    root = tree(counted)
    whole, boxes, deepest = root.samples, [], 0

    def place(frame, x, depth):
        nonlocal deepest
        deepest = max(deepest, depth)
        for (symbol, colour), child in sorted(frame.children.items()):
            if child.samples >= SHARE_MIN * whole:
                boxes.append((x, depth, child.samples, symbol, colour))
                place(child, x, depth + 1)
            x += child.samples

    place(root, 0, 0)
    height = (deepest + 3) * ROW + 2 * MARGIN
    scale = (WIDTH - 2 * MARGIN) / max(whole, 1)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
           f'font-family="monospace" font-size="11"><title>{escape(title)}</title>',
           f'<rect width="100%" height="100%" fill="#fbfaf6"/><text x="{MARGIN}" y="{MARGIN + 11}">{escape(title)}, '
           f'{whole} samples. Orange: kernel, green: Spindle, blue: crates and std, sand: the rest.</text>']
    for x, depth, samples, symbol, colour in boxes:
        left, width = MARGIN + x * scale, samples * scale
        top = height - MARGIN - (depth + 1) * ROW
        fits = int((width - 4) / 6.6)
        words = symbol if len(symbol) <= fits else (symbol[:fits - 1] + "…" if fits > 3 else "")
        out.append(f'<g><title>{escape(symbol)}: {100 * samples / whole:.1f} %</title>'
                   f'<rect x="{left:.1f}" y="{top}" width="{max(width - 0.4, 0.3):.1f}" height="{ROW - 1}" fill={quoteattr(colour)}/>'
                   + (f'<text x="{left + 2:.1f}" y="{top + 12}">{escape(words)}</text>' if words else "") + "</g>")
    return "\n".join([*out, "</svg>\n"])


def own(counted, most):
    """[(function, share of the samples in it alone)], the largest first."""
    total, alone = sum(counted.values()), collections.Counter()
    for stack, samples in counted.items():
        alone[stack[-1][0]] += samples
    return [(symbol, samples / total) for symbol, samples in alone.most_common(most)]
