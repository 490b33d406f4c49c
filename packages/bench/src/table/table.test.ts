// The form of the tables at the smallest sizes: rows and their order, settings that are really applied, files that are
// read again, a plot that is well-formed. No verdict on speed.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cpu } from '@darkroom/backend-cpu';
import { TracedModule } from '@darkroom/core';
import { drawTimed } from '../verify/image.ts';
import { spreadOf } from '../verify/sampling.ts';
import { compareTables } from './compare.ts';
import { loaderOf } from './model.ts';
import { peerOf, torchBeside } from './peer.ts';
import { scalingSvg } from './plot.ts';
import { printCompared, printMemory, printTimes } from './print.ts';
import { readTable } from './result.ts';
import type { TableResult } from './result.ts';
import { openRows, runTable } from './run.ts';
import type { OpenRow } from './run.ts';
import { tableSettings } from './settings.ts';

const names = [
  'none', '+ autotuner', '+ float16', '+ channels-last', '+ traced UNet', '+ memory-efficient attention',
]; // prettier-ignore

test('each row keeps what the rows above it switched on, on the pipeline itself', async () => {
  expect(tableSettings.map(({ name }) => name)).toEqual(names);
  const plain = await cpu({ autotune: 'off', threads: 1 });
  const device = await cpu({ autotune: 'full', threads: 1 });
  const rows: OpenRow[] = [];
  await openRows(rows, loaderOf('emoji-64'), { plain, device, side: 16, seconds: 0 });
  const seen = [];
  for (const { setting, pipe } of rows) {
    const weight = [...(pipe.unet as { stateDict(): ReadonlyMap<string, { strides: readonly number[] }> }).stateDict()]
      .find(([name]) => name.endsWith('conv_in.weight'))![1]; // prettier-ignore
    pipe.device.profile.reset();
    pipe.device.profile.enabled = true;
    await drawTimed(pipe, { steps: 1, side: 16 });
    pipe.device.profile.enabled = false;
    const softmax = pipe.device.profile.report().some(({ label }) => label.startsWith('softmax'));
    seen.push({
      name: setting.name,
      autotune: pipe.device.autotune,
      precision: pipe.device.precision.conv2d,
      dtype: pipe.computeDtype,
      channelsLast: weight.strides[1] === 1,
      traced: pipe.unet instanceof TracedModule,
      scoresInMemory: softmax,
    });
    pipe.dispose();
  }
  const none = { name: 'none', autotune: 'off', precision: 'float32', dtype: 'float32', channelsLast: false, traced: false, scoresInMemory: true }; // prettier-ignore
  const changes = [
    {}, { autotune: 'full' }, { dtype: 'float16' }, { channelsLast: true }, { traced: true }, { scoresInMemory: false },
  ]; // prettier-ignore
  let expected = none;
  for (const [i, change] of changes.entries()) {
    expected = { ...expected, ...change, name: names[i]! };
    expect(seen[i]).toEqual(expected);
  }
  for (const d of [plain, device]) d[Symbol.dispose]();
});

describe('a run', () => {
  let result: TableResult;
  let folder: string;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'bench-table-'));
    const open = (autotune: 'off' | 'full') => cpu({ autotune, threads: 1 });
    const options = { model: 'emoji-64', steps: 2, side: 16, seconds: 1, rounds: 1, scaling: true, open };
    result = await runTable(options);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const save = (name: string, value: unknown): string => {
    const path = join(folder, name);
    writeFileSync(path, JSON.stringify(value));
    return path;
  };

  test('has every row in order, with its factor and its share of the roofline', () => {
    expect(result.rows.map(({ name }) => name)).toEqual(names);
    const first = result.rows[0]!;
    expect(first.factor).toBe(1);
    for (const row of result.rows) {
      expect(row.ms.samples).toHaveLength(result.rounds);
      expect(row.stepMs.samples).toHaveLength(result.rounds * (result.steps - 1));
      expect(row.factor).toBe(first.ms.median / row.ms.median);
      expect(row.rooflineShare).toBe(row.leastMs / row.stepMs.median);
      expect(row.leastMs).toBeGreaterThan(0);
    }
    expect(result.rows.filter(({ note }) => note?.includes('CPU stores float16'))).toHaveLength(1);
    expect(result.memory.map(({ setting }) => setting)).toEqual([
      'plain', 'score matrix in memory', 'scores, attention slicing auto', 'scores, attention slicing max',
      'VAE slicing', 'VAE tiling (8 px)', 'model offload', 'sequential offload',
    ]); // prettier-ignore
    expect(result.peer.note).toMatch(/^torch/);
    const { batch, size } = result.scaling!;
    expect(batch.map(({ images, side }) => [images, side])).toEqual([[1, 16], [2, 16], [4, 16]]); // prettier-ignore
    expect(size.map(({ images, side }) => [images, side])).toEqual([[1, 8], [1, 16], [1, 32]]); // prettier-ignore
    const text = `${printTimes(result)}\n${printMemory(result.memory)}`;
    for (const name of [...names, 'plain', 'memory-efficient', 'sequential offload'])
      expect(text).toContain(name);
  });

  test('is the same after its file was written and read, and does not differ from itself', () => {
    const read = readTable(save('a.json', { kind: 'table', result }));
    expect(read).toEqual(result);
    const rows = compareTables(result, read);
    expect(rows).toHaveLength(result.rows.length + result.memory.length);
    for (const { ratio, verdict } of rows) expect([ratio, verdict]).toEqual([1, 'no difference']);
  });

  test('differs beyond the spreads only; rows of one run alone are named', () => {
    const scaled = (factor: number): TableResult => ({
      ...result,
      rows: result.rows.map((row) => ({ ...row, ms: spreadOf([90, 100, 110].map((ms) => factor * ms)) })),
    });
    const verdicts = (b: TableResult): string[] => compareTables(scaled(1), b).map(({ verdict }) => verdict);
    expect(verdicts(scaled(1.2))[0]).toBe('no difference');
    expect(verdicts(scaled(1.3))[0]).toBe('b takes more');
    expect(verdicts(scaled(0.5))[0]).toBe('b takes less');
    const short = { ...result, rows: result.rows.slice(1) };
    expect(compareTables(result, short)[0]).toMatchObject({
      name: 'none',
      verdict: 'only in a',
      ratio: undefined,
    });
    expect(compareTables(short, result).find(({ name }) => name === 'none')!.verdict).toBe('only in b');
    expect(printCompared(compareTables(result, short))).toContain('only in a');
    expect(() => compareTables(result, { ...result, steps: 9 })).toThrow(
      'compare: steps must be the same in both files, got 2 and 9',
    );
  });

  test('files of another kind, or broken ones, are refused with their name', () => {
    expect(() => readTable(join(folder, 'none.json'))).toThrow(
      /none\.json: must be a JSON file of bench table/,
    );
    expect(() => readTable(save('op.json', { kind: 'op', result: [] }))).toThrow(
      'kind must be \'table\', got "op"',
    );
    expect(() => readTable(save('null.json', null))).toThrow('got none');
    const rows = [{ name: 'none', ms: { median: 0, p5: 0, p95: 0 } }];
    expect(() => readTable(save('zero.json', { kind: 'table', result: { ...result, rows } }))).toThrow(
      'zero.json: rows must have a name, and ms with median, p5 and p95 above 0',
    );
    expect(() =>
      readTable(save('memory.json', { kind: 'table', result: { ...result, memory: [{}] } })),
    ).toThrow('memory must have a setting, and peakMiB above 0');
  });

  test('is drawn as a well-formed SVG with every point', () => {
    const svg = scalingSvg(result.scaling!, { title: 'a <b> & "c"', device: 'x'.repeat(200) });
    requireWellFormed(svg);
    expect(svg).toContain('<title id="title">a &lt;b&gt; &amp; &quot;c&quot;</title>');
    expect(svg.match(/<circle/g)).toHaveLength(6);
    expect(svg).toContain('prefers-color-scheme: dark');
    expect(svg).not.toMatch(/NaN|Infinity|undefined/);
  });
});

test('one value for all points, and values of many decades, stay inside the plot', () => {
  for (const values of [
    [1, 1, 1],
    [0.001, 3, 90_000],
  ]) {
    // prettier-ignore
    const points = values.map((ms, i) => ({ images: 2 ** i, side: 64, stepMs: spreadOf([ms]), leastMs: ms }));
    const svg = scalingSvg({ batch: points, size: points }, { title: 't', device: 'd' });
    requireWellFormed(svg);
    expect(svg).not.toMatch(/NaN|Infinity/);
    for (const [, y] of svg.matchAll(/cy="([^"]+)"/g)) {
      expect(Number(y)).toBeGreaterThanOrEqual(0);
      expect(Number(y)).toBeLessThanOrEqual(240);
    }
  }
});

test("torch's figures go to the rows of their mode; without torch, or for other work, the note says so", async () => {
  const ms = spreadOf([5]);
  const row = (mode: string, run: 'eager' | 'graph', cudnnBenchmark: boolean, median: number) =>
    ({ section: 'unet', mode, run, cudnnBenchmark, ms: { ...ms, median } }) as const;
  const rows = [
    row('float32', 'eager', false, 1), row('float32', 'eager', true, 2), row('float16', 'eager', true, 3),
    row('float16', 'graph', true, 4), row('float16', 'graph', false, 9),
  ]; // prettier-ignore
  const report = { torch: '2.0', rows };
  expect(Object.values(peerOf(tableSettings, report, true).stepMs)).toEqual([1, 2, 3, 3, 4, 4]);
  expect(peerOf(tableSettings, report, false)).toMatchObject({ stepMs: {}, note: expect.stringContaining('another work') as string }); // prettier-ignore
  expect(peerOf(tableSettings, { missing: 'python3 has no torch' }, true).note).toBe(
    'torch is not here: python3 has no torch',
  );
  const { note, stepMs } = await torchBeside(tableSettings, { comparable: false, seconds: 1 });
  expect(note).toMatch(/^torch/);
  expect(stepMs).toEqual({});
});

test('a single step is refused before a device is opened', async () => {
  const open = () => Promise.reject(new Error('opened'));
  const options = { model: 'emoji-64', seconds: 1, rounds: 1, scaling: false, open };
  await expect(runTable({ ...options, steps: 1 })).rejects.toThrow(
    'steps: must be an integer of at least 2, got 1',
  );
});

/** Tags are closed in order, attributes are quoted, and no bare & or < is in a text. @throws Error for what is not */
function requireWellFormed(xml: string): void {
  const open: string[] = [];
  const tag = /<(\/?)([a-zA-Z]+)((?:\s+[a-zA-Z][a-zA-Z0-9-]*="[^"<]*")*)\s*(\/?)>|([^<]+)/gy;
  let end = 0;
  for (const [whole, closing, name, , empty, text] of xml.matchAll(tag)) {
    end += whole.length;
    if (text !== undefined && /&(?!(amp|lt|gt|quot);)/.test(text)) throw new Error(`a bare & in ${text}`);
    if (closing && open.pop() !== name) throw new Error(`</${name}> closes another tag`);
    if (name && !closing && !empty) open.push(name);
  }
  if (end !== xml.length) throw new Error(`not a tag: ${xml.slice(end, end + 40)}`);
  if (open.length > 0) throw new Error(`never closed: ${open.join(', ')}`);
}
