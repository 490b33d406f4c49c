// examples/trace-unet.ts from beginning to end, with few runs.

import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { main } from '../examples/trace-unet.ts';
import { emoji } from '@darkroom/diffusers/testing';

test('the example traces, times, saves, loads and draws', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'darkroom-trace-'));
  const lines: string[] = [];
  const file = join(folder, 'unet.graph.json');
  const settings = { model: emoji, device: 'cpu', file, runsPerExperiment: 2, steps: 2 };
  const { image, traced, eager } = await main({ ...settings, say: (line) => void lines.push(line) });
  expect([image.width, traced.length, eager.length]).toEqual([64, 2, 2]);
  expect(statSync(file).size).toBeGreaterThan(10_000);
  expect(lines.map((l) => l.replace(/[\d.]+ seconds/, 'x seconds').replace(/: \(.*/, ''))).toEqual([
    'tracing..',
    'done tracing',
    'unet traced inference took x seconds',
    'unet traced inference took x seconds',
    'unet inference took x seconds',
    'unet inference took x seconds',
  ]);
  rmSync(folder, { recursive: true });
});
