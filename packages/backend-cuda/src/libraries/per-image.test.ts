import { expect, test } from 'vitest';
import { layoutOf } from '@darkroom/core/backend';
import type { Expr } from '@darkroom/core';
import type { ArgSpec, Choice, Conv2dOp, KernelOp } from '@darkroom/core/backend';
import type { OwnKernels } from '../own-kernels.ts';
import type { Library, Prepared } from '../provider.ts';
import { conv2dGraph } from './cudnn-conv2d.ts';
import { inTwoLaunches, withoutPerImage } from './per-image.ts';

const image = (...shape: number[]): ArgSpec => ({
  dtype: 'float16',
  layout: layoutOf(shape, 'channelsLast'),
});
const plain = (...shape: number[]): ArgSpec => ({ dtype: 'float16', layout: layoutOf(shape, 'contiguous') });
const conv = (epilogue?: Expr): Conv2dOp => ({
  kind: 'conv2d',
  stride: [1, 1],
  padding: [1, 1, 1, 1],
  dilation: [1, 1],
  groups: 1,
  ...(epilogue && { epilogue }),
});
const [x, w, y] = [image(2, 8, 4, 4), image(16, 8, 3, 3), image(2, 16, 4, 4)];
const [bias, embedding] = [plain(16, 1, 1), plain(2, 16, 1, 1)];
const sum: Expr = ['add', ['in', 0], ['in', 1]];
const both: Expr = ['add', sum, ['in', 2]];

test('the term of each image is taken out, wherever it stands', () => {
  const last = withoutPerImage(conv(both), [x, w, bias, embedding, y])!;
  expect([last.taken, last.term, last.op.epilogue]).toEqual([[0, 1, 2, 4], 3, sum]);
  const first = withoutPerImage(conv(both), [x, w, embedding, bias, y])!;
  expect([first.taken, first.term, first.op.epilogue]).toEqual([[0, 1, 3, 4], 2, sum]);
  const alone = withoutPerImage(conv(sum), [x, w, embedding, y])!;
  expect([alone.taken, alone.term, 'epilogue' in alone.op]).toEqual([[0, 1, 3], 2, false]);
});

test('other epilogues stay whole', () => {
  const one = image(1, 16, 4, 4);
  expect(withoutPerImage(conv(sum), [x, w, bias, y])).toBeUndefined();
  expect(withoutPerImage(conv(both), [x, w, bias, y, y])).toBeUndefined();
  // One image: the term is a bias like any other.
  expect(withoutPerImage(conv(sum), [image(1, 8, 4, 4), w, plain(1, 16, 1, 1), one])).toBeUndefined();
  const silu: Expr = ['mul', both, ['sigmoid', both]];
  expect(withoutPerImage(conv(silu), [x, w, bias, embedding, y])).toBeUndefined();
});

test('cuDNN gets no graph with such a term, and one without it', () => {
  const args = [x, w, bias, embedding, y];
  expect(conv2dGraph(conv(both), args)).toBeUndefined();
  const rest = withoutPerImage(conv(both), args)!;
  expect(conv2dGraph(rest.op, rest.args)).toBeDefined();
});

test('two launches: the library with its scratch memory, then the addition onto the result', () => {
  const calls: [string, readonly number[]][] = [];
  const kernel = (name: string, scratch: readonly number[] = []): Prepared => ({
    scratch,
    fits: (addresses) => !addresses.includes(13),
    run: (addresses) => (calls.push([name, [...addresses]]), 1),
  });
  const library: Library = {
    name: 'cudnn',
    choices: () => [],
    prepare: (op: KernelOp, _: readonly ArgSpec[], choice: Choice) =>
      choice.id === 'cudnn' && op.kind === 'conv2d' ? kernel('library', [64]) : undefined,
    [Symbol.dispose]: () => {},
  };
  const own = { choices: () => [{ id: 'wgsl' }], prepare: () => kernel('own') } as unknown as OwnKernels;
  const args = [x, w, embedding, bias, y];
  const rest = withoutPerImage(conv(both), args)!;
  expect(inTwoLaunches(library, own, rest, args, { id: 'cudnn-1' })).toBeUndefined();
  const both2 = inTwoLaunches(library, own, rest, args, { id: 'cudnn' })!;
  expect(both2.scratch).toEqual([64]);
  expect(both2.fits([1, 2, 13, 4, 5, 99])).toBe(false); // the term
  expect(both2.fits([1, 2, 3, 4, 5, 99])).toBe(true);
  expect(both2.run([1, 2, 3, 4, 5, 99], [], 0)).toBe(2);
  expect(calls).toEqual([
    ['library', [1, 2, 4, 5, 99]],
    ['own', [5, 3, 5]],
  ]);
});
