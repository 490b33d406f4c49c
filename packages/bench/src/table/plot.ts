// The plot of `bench table --svg`: milliseconds of a step beside the least that the device's rates allow, by the number
// of pictures and by their size. SVG text without a script; its colours follow the reader's light or dark mode.

import type { ScalePoint, Scaling } from './result.ts';

/** Of a panel's axes, in the SVG's units. */
const panel = { width: 300, height: 240, top: 84, left: 66, gap: 90 } as const;
const size = { width: 2 * panel.width + panel.left + panel.gap + 30, height: 410 } as const;

const style = `
  .paper { fill: #ffffff } text { fill: #1f2328; font: 13px system-ui, sans-serif }
  .title { font-size: 16px; font-weight: 600 } .quiet { fill: #59636e; font-size: 12px }
  .grid { stroke: #d1d9e0 } .measured { stroke: #0969da } .least { stroke: #bc4c00 }
  text.measured { fill: #0969da; stroke: none } text.least { fill: #bc4c00; stroke: none }
  circle.measured { fill: #0969da } path { fill: none; stroke-width: 2 } path.least { stroke-dasharray: 6 4 }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117 } text { fill: #f0f6fc } .quiet { fill: #9198a1 } .grid { stroke: #3d444d }
    .measured { stroke: #58a6ff } text.measured, circle.measured { fill: #58a6ff }
    .least { stroke: #f0883e } text.least { fill: #f0883e }
  }`;

/** An SVG document. `title` and `device` are texts, escaped here. */
export function scalingSvg(
  { batch, size: sizes }: Scaling,
  texts: { readonly title: string; readonly device: string },
): string {
  const scale = scaleOf([...batch, ...sizes]);
  const { title, device } = texts;
  const right = panel.left + panel.width + panel.gap;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${size.height}" width="${size.width}" height="${size.height}" role="img" aria-labelledby="title about">
<title id="title">${escaped(title)}</title>
<desc id="about">${escaped(described(batch, sizes))}</desc>
<style>${style}
</style>
<rect class="paper" width="100%" height="100%"/>
<text class="title" x="${panel.left}" y="28">${escaped(title)}</text>
<text class="quiet" x="${panel.left}" y="48">${escaped(clipped(device))}</text>
${panelOf(batch, scale, panel.left, { heading: 'ms a step, by pictures at once', label: (p) => String(p.images) })}
${panelOf(sizes, scale, right, { heading: 'ms a step, by size in pixels', label: (p) => `${p.side}²` })}
<path class="measured" d="M${panel.left} ${size.height - 24}h28"/>
<text class="measured" x="${panel.left + 36}" y="${size.height - 20}">measured: median, p5 to p95</text>
<path class="least" d="M${right} ${size.height - 24}h28"/>
<text class="least" x="${right + 36}" y="${size.height - 20}">roofline at the device's own rates</text>
</svg>
`;
}

interface Scale {
  readonly ticks: readonly number[];
  /** Distance from the top of a panel's axes. */
  readonly y: (ms: number) => number;
}

/** Logarithmic, from a round number below all values to one above. */
function scaleOf(points: readonly ScalePoint[]): Scale {
  const values = points.flatMap(({ stepMs, leastMs }) => [stepMs.p5, stepMs.p95, leastMs]);
  const ticks = roundNumbers(Math.min(...values), Math.max(...values));
  const [low, high] = [Math.log(ticks[0]!), Math.log(ticks.at(-1)!)];
  return { ticks, y: (ms) => panel.height * (1 - (Math.log(ms) - low) / (high - low)) };
}

/** 1, 2 and 5 times powers of ten around a range; powers of ten alone where those would be many. */
function roundNumbers(low: number, high: number): number[] {
  const decades = Math.log10(high / low);
  const steps = decades > 2 ? [1] : [1, 2, 5];
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
    for (const step of steps) ticks.push(Number(`${step}e${power}`));
  const from = ticks.findLastIndex((tick) => tick <= low);
  const to = ticks.findIndex((tick) => tick > high);
  return ticks.slice(from, to + 1);
}

function panelOf(
  points: readonly ScalePoint[],
  { ticks, y }: Scale,
  left: number,
  texts: { readonly heading: string; readonly label: (point: ScalePoint) => string },
): string {
  const round = (value: number): number => Number(value.toFixed(1));
  const x = (i: number): number => round(panel.width * ((i + 0.5) / points.length));
  const line = (of: (p: ScalePoint) => number): string =>
    points.map((p, i) => `${i === 0 ? 'M' : 'L'}${x(i)} ${round(y(of(p)))}`).join('');
  const grid = ticks.map(
    (tick) =>
      `<line class="grid" x2="${panel.width}" y1="${round(y(tick))}" y2="${round(y(tick))}"/>` +
      `<text class="quiet" x="-8" y="${round(y(tick) + 4)}" text-anchor="end">${tick}</text>`,
  );
  const marks = points.map((p, i) => {
    const at = round(y(p.stepMs.median));
    return (
      `<path class="measured" d="M${x(i)} ${round(y(p.stepMs.p5))}V${round(y(p.stepMs.p95))}"/>` +
      `<circle class="measured" cx="${x(i)}" cy="${at}" r="4"/>` +
      `<text x="${x(i) - 8}" y="${at - 8}" text-anchor="end">${Number(p.stepMs.median.toPrecision(3))}</text>` +
      `<text x="${x(i)}" y="${panel.height + 22}" text-anchor="middle">${escaped(texts.label(p))}</text>`
    );
  });
  return [
    `<g transform="translate(${left} ${panel.top})">`,
    `<text class="quiet" y="-12">${escaped(texts.heading)}</text>`,
    ...grid,
    `<path class="least" d="${line((p) => p.leastMs)}"/>`,
    `<path class="measured" d="${line((p) => p.stepMs.median)}"/>`,
    ...marks,
    '</g>',
  ].join('\n');
}

const described = (batch: readonly ScalePoint[], sizes: readonly ScalePoint[]): string =>
  [...batch, ...sizes]
    .map(
      ({ images, side, stepMs, leastMs }) =>
        `${images} of ${side}x${side}: ${stepMs.median.toFixed(2)} ms a step, at least ${leastMs.toFixed(2)} ms`,
    )
    .join('; ');

const clipped = (text: string): string => (text.length > 100 ? `${text.slice(0, 99)}…` : text);

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const escaped = (text: string): string => text.replaceAll(/[&<>"]/g, (c) => entities[c]!);
