// The texts of a page whose contrast with their ground is below 4.5 to 1 (WCAG 2, level AA).
(() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

  // [red, green, blue, opacity] of any colour that CSS can write
  const channels = (text) => {
    canvas.fillStyle = text;
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const over = (top, below) =>
    top.slice(0, 3).map((one, index) => (one * top[3]) / 255 + below[index] * (1 - top[3] / 255));
  const linear = (one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
  const luminance = (rgb) => {
    const [red, green, blue] = rgb.map((one) => linear(one / 255));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ground = (one) =>
    one ? over(channels(getComputedStyle(one).backgroundColor), ground(one.parentElement)) : [255, 255, 255];

  const bad = new Set();
  for (const one of document.querySelectorAll("body *")) {
    const own = [...one.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    if (!own || !one.checkVisibility() || one.closest(".skip, svg, script")) continue;
    const below = ground(one);
    const front = over(channels(getComputedStyle(one).color), below);
    const [light, dark] = [luminance(front), luminance(below)].sort((a, b) => b - a);
    const ratio = (light + 0.05) / (dark + 0.05);
    if (ratio < 4.5) bad.add(`${one.tagName}.${one.className} in ${one.parentElement.className}: ${ratio.toFixed(2)}`);
  }
  return [...bad];
})();
