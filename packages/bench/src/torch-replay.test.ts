// The torch replay's reading of the op list, without torch: what it would run costs what was recorded. Where python3 is
// missing the tests are skipped with the reason; with a torch of any kind every op's output shape is checked too.

import { spawnSync } from 'node:child_process';
import type { SpawnSyncReturns } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const folder = join(fileURLToPath(new URL('.', import.meta.url)), '../torch');
const list = join(folder, 'sd15-ops.json');
const python = (...args: string[]): SpawnSyncReturns<string> =>
  spawnSync('python3', args, { encoding: 'utf8', cwd: folder });

const missing = python('--version').error;
if (missing)
  console.warn(`skipped: the torch replay is Python, and python3 is not here (${missing.message})`);

interface Totals {
  readonly count: number;
  readonly flops: number;
  readonly params: number;
}
interface Recorded {
  readonly params: number;
  readonly gflops: number;
  readonly kinds: Readonly<Record<string, { count: number; gflops: number; params: number }>>;
}
const recorded = (JSON.parse(readFileSync(list, 'utf8')) as { sections: Record<string, Recorded> }).sections;

describe.skipIf(missing)('torch replay', () => {
  test('counts what was recorded: every kind of op, its FLOPs and its weights', () => {
    const { stdout, stderr, status } = python('replay.py', list, '--count');
    expect(stderr).toBe('');
    expect(status).toBe(0);
    const counted = JSON.parse(stdout) as Record<string, Record<string, Totals>>;
    expect(Object.keys(counted)).toEqual(['unet', 'vae', 'text']);
    for (const [section, { kinds, gflops, params }] of Object.entries(recorded)) {
      const got = counted[section]!;
      expect(Object.keys(got).sort()).toEqual(Object.keys(kinds).sort());
      for (const [kind, want] of Object.entries(kinds)) {
        expect([kind, got[kind]!.count]).toEqual([kind, want.count]);
        // Recorded to three decimals.
        expect(Math.abs(got[kind]!.flops / 1e9 - want.gflops), kind).toBeLessThanOrEqual(0.0006);
        expect([kind, got[kind]!.params]).toEqual([kind, want.params]);
      }
      const all = Object.values(got);
      expect(all.reduce((sum, t) => sum + t.flops, 0) / 1e9).toBeCloseTo(gflops, 1);
      expect(all.reduce((sum, t) => sum + t.params, 0)).toBe(params);
    }
  });

  test('without a GPU or without torch it says so in its JSON', () => {
    const { stdout, status } = python('replay.py', list, '--seconds', '0');
    expect(status).toBe(0);
    const report = JSON.parse(stdout) as { missing?: string; rows?: unknown[] };
    expect(report.missing ?? report.rows).toBeDefined();
    if (report.missing) expect(report.missing).toMatch(/has no torch|sees no CUDA device/);
  });

  test('every op gives the shape that the list says, where there is a torch', () => {
    const { stdout, stderr, status } = python('replay.py', list, '--check');
    expect(status, stderr).toBe(0);
    const answer = JSON.parse(stdout) as { missing?: string; checked?: number };
    if (answer.missing) console.warn(`not checked: ${answer.missing}`);
    else expect(answer.checked).toBe(Object.values(recorded).flatMap((s) => Object.values(s.kinds)).reduce((n, k) => n + k.count, 0)); // prettier-ignore
  });
});
