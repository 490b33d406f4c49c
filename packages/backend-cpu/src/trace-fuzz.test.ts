// Trace files of strangers, on a device that computes: texts and values changed by chance are refused with one
// FormatError, or what they ask for runs; no other error, no memory kept. DARKROOM_PROPERTY_RUNS draws more.

import {
  add,
  attention,
  concat,
  conv2d,
  DarkroomError,
  FormatError,
  groupNorm,
  keep,
  linear,
  log,
  parseTraced,
  randomNormal,
  reshape,
  resize,
  scope,
  silu,
  softmax,
  trace,
} from '@darkroom/core';
import type { Device, Tensor } from '@darkroom/core';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { cpu } from './index.ts';

let device: Device;
let text: string;
/** Captured by the trace: its bytes are in the file. */
let shift: Tensor;
beforeAll(async () => {
  device = await cpu({ threads: 1 });
  shift = keep(draw([12], 4));
  const warn = vi.spyOn(log, 'warn').mockImplementation(() => {});
  const traced = await trace(net(weights()), [draw([1, 4, 6, 6], 9), 3]);
  text = await traced.serialize();
  traced.dispose();
  warn.mockRestore();
});
afterAll(() => device[Symbol.dispose]());

const draw = (shape: readonly number[], seed: number): Tensor => randomNormal(shape, { seed, device });
const weights = (): Map<string, Tensor> =>
  new Map([
    ['conv', keep(draw([8, 4, 3, 3], 1))],
    ['scale', keep(draw([8], 2))],
    ['proj', keep(draw([8, 8], 3))],
  ]);

function net(params: Map<string, Tensor>) {
  const p = (name: string): Tensor => params.get(name)!;
  return {
    name: 'net',
    device,
    stateDict: () => params,
    dispose: () => params.forEach((t) => t.dispose()),
    call: (x: Tensor, time: number | Tensor): { out: Tensor; list: Tensor[] } => {
      const h = silu(
        groupNorm(conv2d(x, p('conv'), { padding: 1 }), 2, { weight: p('scale'), bias: p('scale') }),
      );
      const tokens = linear(h.view([1, 8, 36]).permute(0, 2, 1), p('proj'));
      const heads = tokens.view([1, 36, 2, 4]).permute(0, 2, 1, 3);
      const seen = reshape(attention(heads, heads, heads).permute(0, 2, 1, 3), [1, 36, 8]);
      const up = resize(reshape(seen.permute(0, 2, 1), [1, 8, 6, 6]), [12, 12]);
      const joined = concat([up, up], 1).slice(1, 3, 11);
      return { out: softmax(add(add(joined, time), shift)), list: [add(tokens, 1)] };
    },
  };
}

type Path = readonly (string | number)[];
type Tree = Record<string | number, unknown>;

function pathsOf(value: unknown, at: Path = []): Path[] {
  const inner =
    typeof value === 'object' && value !== null
      ? Object.entries(value).flatMap(([key, child]) => pathsOf(child, [...at, key]))
      : [];
  return at.length > 0 ? [at, ...inner] : inner;
}
const parentOf = (json: unknown, path: Path): Tree =>
  path.slice(0, -1).reduce((tree, key) => (tree?.[key] ?? {}) as Tree, json as Tree);

const junk = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    -1,
    0,
    1,
    2,
    3,
    1e9,
    2 ** 31,
    2 ** 53,
    0.5,
    NaN,
    '',
    'x',
    [],
    {},
    [0],
    [1, 1],
    [1e9, 1e9],
    true,
  ),
  fc.jsonValue(),
);
/** One change of the values of a file; the numbers pick places of it. */
const edit = fc.oneof(
  fc.tuple(fc.constant('set' as const), fc.nat(), junk),
  fc.tuple(fc.constant('remove' as const), fc.nat(), fc.constant(0)),
  fc.tuple(fc.constant('copy' as const), fc.nat(), fc.nat()),
  fc.tuple(fc.constant('shift' as const), fc.nat(), fc.constantFrom(-1, 1, 2, -7, 64)),
  fc.tuple(fc.constant('twice' as const), fc.nat(), fc.constant(0)),
);

function edited([how, at, by]: readonly [string, number, unknown], json: unknown): void {
  const paths = pathsOf(json);
  if (paths.length === 0) return;
  const path = paths[at % paths.length]!;
  const [parent, key] = [parentOf(json, path), path.at(-1)!];
  if (how === 'set') parent[key] = by;
  if (how === 'remove') delete parent[key];
  if (how === 'copy') {
    const from = paths[(by as number) % paths.length]!;
    parent[key] = structuredClone(parentOf(json, from)[from.at(-1)!]);
  }
  if (how === 'shift' && typeof parent[key] === 'number') parent[key] += by as number;
  if (how === 'twice' && Array.isArray(parent))
    parent.splice(Number(key), 0, structuredClone(parent[key as never]));
}
const changedValues = fc.array(edit, { minLength: 1, maxLength: 3 }).map((edits) => () => {
  const json = JSON.parse(text) as unknown;
  for (const one of edits) edited(one, json);
  return JSON.stringify(json);
});
/** The text cut, or with some letters replaced. */
const changedText = fc
  .tuple(
    fc.double({ min: 0, max: 1, noNaN: true }),
    fc.nat(40),
    fc.oneof(fc.string({ maxLength: 9 }), fc.constantFrom(']', '}', '"', '9', '-')),
  )
  .map(([at, length, put]) => () => {
    const from = Math.floor(at * text.length);
    return length === 40 ? text.slice(0, from) : text.slice(0, from) + put + text.slice(from + length);
  });

test('a changed trace file is refused with a FormatError, or runs', async () => {
  const before = device.memory().live;
  let refused = 0;
  let ran = 0;
  await fc.assert(
    fc.asyncProperty(fc.oneof({ weight: 4, arbitrary: changedValues }, changedText), async (change) => {
      const params = weights();
      try {
        const traced = await parseTraced(change(), 'f', { device, params });
        try {
          scope(() => void traced.call(draw([1, 4, 6, 6], 9), 3));
          ran++;
        } catch (error) {
          // Sound, but another call than this one, or more than fits.
          expect(error).toBeInstanceOf(DarkroomError);
        } finally {
          traced.dispose();
        }
      } catch (error) {
        refused++;
        expect(error).toBeInstanceOf(FormatError);
        expect((error as Error).message.startsWith('f: ')).toBe(true);
        for (const t of params.values()) t.dispose();
      }
      expect(device.memory().live).toBe(before);
    }),
    { numRuns: Number(process.env['DARKROOM_PROPERTY_RUNS'] ?? 3000), seed: 3 },
  );
  expect([refused > 0, ran > 0]).toEqual([true, true]);
});
