// Plans of cuDNN kept as files and restored, really built for a described H100 without a GPU; none is run.

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { FaultLog } from '../fault-log.ts';
import { loadAddon } from '../node/addon.ts';
import { cubinFiles } from '../node/cubin-files.ts';
import { cudnnAttribute } from '../node/cudnn.ts';
import { buildPlan, cudnnIsMissing, describedCudnn, finishes, sd15Attentions, sd15Convolutions } from './cudnn-testing.ts'; // prettier-ignore
import type { Problem } from './cudnn-testing.ts';

const missing = cudnnIsMissing();

describe.skipIf(missing)("cuDNN's plans as files", () => {
  const library = missing ? undefined! : describedCudnn('sm_90');
  const fused = sd15Convolutions(finishes.residual)[1]!;
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'darkroom-plans-'))));
  afterEach(() => {
    rmSync(folder, { recursive: true });
    vi.restoreAllMocks();
  });

  /** Bytes of the plan's workspace, and whether the plan came from its file; also what was noted. */
  function build(problem: Problem, device = 'H100'): { bytes: number; restored: boolean; noted: string[] } {
    const set = vi.spyOn(loadAddon().cudnn, 'setAttribute');
    const faults = new FaultLog();
    const bytes = buildPlan('sm_90', library, problem, { store: cubinFiles(folder, 'plan'), device }, faults);
    const given = set.mock.calls.map(([, attribute]) => attribute);
    set.mockRestore();
    const restored = !given.includes(cudnnAttribute.executionPlanEngineConfig);
    return { bytes, restored, noted: faults.list.map((f) => f.message) };
  }

  test.each([fused, sd15Attentions()[0]!])('$name: built once, then restored', (problem) => {
    const first = build(problem);
    expect(first).toMatchObject({ restored: false, noted: [] });
    expect(readdirSync(folder)).toEqual([expect.stringMatching(/^[0-9a-f]{64}\.plan$/)]);
    expect(build(problem)).toEqual({ ...first, restored: true });
    expect(build(problem, 'another device').restored).toBe(false);
    expect(readdirSync(folder)).toHaveLength(2);
  });
  test('a plan without a kernel of its own is not kept', () => {
    const plain = sd15Convolutions(finishes.bias)[1]!;
    expect(build(plain).restored).toBe(false);
    expect(readdirSync(folder)).toEqual([]);
  });
  test('a file that is damaged is replaced; so is a plan that cuDNN refuses', () => {
    const first = build(fused);
    const [name] = readdirSync(folder);
    const path = join(folder, name!);
    const whole = readFileSync(path);
    writeFileSync(path, whole.subarray(0, 30_000));
    expect(build(fused)).toEqual(first);
    expect(build(fused)).toEqual({ ...first, restored: true });
    // A file with content that is whole, but no plan.
    const load = vi.fn(() => new TextEncoder().encode('{"cudnnVersion":1}'));
    const saved = vi.fn();
    const faults = new FaultLog();
    const files = { store: { load, save: saved }, device: 'H100' };
    expect(buildPlan('sm_90', library, fused, files, faults)).toBe(first.bytes);
    expect(saved).toHaveBeenCalledOnce();
    expect(faults.list).toMatchObject([{ kind: 'library-refused', op: 'cuDNN' }]);
    expect(faults.list[0]!.message).toMatch(
      /^cuda: cuDNN: a kept plan is not restored but built anew: libcudnn: /,
    );
  });
});
