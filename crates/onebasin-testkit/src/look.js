// Measures the page in the frame `view` and leaves what it finds, as JSON, in the data of this document's body.
(() => {
  const view = document.getElementById("view");
  const page = view.contentDocument, frame = view.contentWindow;
  const pen = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  const dark = frame.matchMedia("(prefers-color-scheme: dark)").matches;
  const rgba = (colour) => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data].map((c) => c / 255);
  };
  const over = (top, below, opacity) => [0, 1, 2].map((i) => top[3] * opacity * top[i] + (1 - top[3] * opacity) * below[i]);
  const luminance = (c) => {
    const [r, g, b] = c.map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [x, y] = [luminance(a), luminance(b)];
    return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
  };
  const lineage = (element) => {
    const all = [];
    for (let e = element; e; e = e.parentElement) all.push(e);
    return all;
  };
  const ground = (element) => {
    const canvas = dark ? [0.07, 0.07, 0.07] : [1, 1, 1];
    return lineage(element).reverse().reduce((below, e) => over(rgba(frame.getComputedStyle(e).backgroundColor), below, 1), canvas);
  };
  const short = (text) => text.trim().replace(/\s+/g, " ").slice(0, 60);

  const found = {
    dark, width: frame.innerWidth, console: [],
    height: Math.ceil(page.documentElement.getBoundingClientRect().height),
    overflow: Math.max(page.documentElement.scrollWidth, page.body.scrollWidth) - frame.innerWidth,
    requests: frame.performance.getEntriesByType("resource").map((entry) => entry.name),
    smallest_text: 1e9, smallest_text_is: "", lowest_contrast: 1e9, lowest_contrast_is: "", cut_off: [], colliding: [], figures: [],
  };

  for (const element of page.querySelectorAll("[src], [srcset], [poster], [data], link[href], image[href], use[href]")) {
    const addresses = ["src", "srcset", "poster", "data", "href"].map((name) => element.getAttribute(name) ?? "");
    found.requests.push(...addresses.filter((address) => !/^(data:|#|$)/.test(address)));
  }

  const words = page.createTreeWalker(page.body, NodeFilter.SHOW_TEXT);
  while (words.nextNode()) {
    const text = short(words.currentNode.data), element = words.currentNode.parentElement;
    if (!text || element.closest("script, style, title, desc")) continue;
    const style = frame.getComputedStyle(element);
    if (!element.getClientRects().length || style.visibility !== "visible") continue;
    let size = parseFloat(style.fontSize), ink = style.color, back = ground(element);
    if (element.ownerSVGElement) {
      const m = element.getScreenCTM();
      size *= Math.sqrt(Math.abs(m.a * m.d - m.b * m.c));
      ink = style.fill;
      if (style.stroke !== "none") back = over(rgba(style.stroke), back, 1);
    }
    if (size < found.smallest_text) [found.smallest_text, found.smallest_text_is] = [size, text];
    const opacity = lineage(element).reduce((all, e) => all * parseFloat(frame.getComputedStyle(e).opacity), 1);
    const seen = contrast(over(rgba(ink), back, opacity), back);
    if (seen < found.lowest_contrast) [found.lowest_contrast, found.lowest_contrast_is] = [seen, text];
  }

  for (const svg of page.querySelectorAll("svg:not(svg svg):not([aria-hidden])")) {
    const box = svg.getBoundingClientRect();
    const marks = [...svg.querySelectorAll("path, line, polyline, polygon, circle, ellipse, rect")].filter((mark) => {
      const [style, b] = [frame.getComputedStyle(mark), mark.getBoundingClientRect()];
      return (style.fill !== "none" || style.stroke !== "none") && b.width + b.height > 0;
    });
    found.figures.push({ label: svg.getAttribute("aria-label") ?? "", width: box.width, height: box.height, marks: marks.length });
    const texts = [...svg.querySelectorAll("text")].map((text) => [short(text.textContent), text.getBoundingClientRect()]);
    for (const [text, b] of texts) {
      if (b.left < box.left - 1 || b.right > box.right + 1 || b.top < box.top - 1 || b.bottom > box.bottom + 1) found.cut_off.push(text);
    }
    texts.forEach(([text, a], i) => {
      for (const [other, b] of texts.slice(i + 1)) {
        const [wide, tall] = [Math.min(a.right, b.right) - Math.max(a.left, b.left), Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top)];
        if (wide > 1 && tall > 0.35 * Math.min(a.height, b.height)) found.colliding.push(`${text} | ${other}`);
      }
    });
  }
  const plain = (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0");
  document.body.dataset.look = JSON.stringify(found).replace(/[^ !"#$%'-;=?-~]/g, plain);
})();
