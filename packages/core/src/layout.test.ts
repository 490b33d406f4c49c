import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Layout } from './layout.ts';
import {
  broadcastShapes, channelsLastStrides, contiguousStrides, elementCount, expandLayout, isDense, layoutOf, memoryFormatOf,
  permuteLayout, reshapeLayout, sliceLayout, span,
} from './layout.ts'; // prettier-ignore

/** Memory positions of a layout's elements in row-major order: the definition all view algebra must agree with. */
function positions(l: Layout): number[] {
  let out = [l.offset];
  l.shape.forEach((d, axis) => {
    out = out.flatMap((p) => Array.from({ length: d }, (_, i) => p + i * l.strides[axis]!));
  });
  return out;
}

const dims = fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 4 });
/** Layouts reached by permuting and slicing a contiguous one. */
const layouts = fc.tuple(dims, fc.nat(), fc.nat(), fc.boolean()).map(([shape, a, b, cut]): Layout => {
  let l: Layout = layoutOf(shape);
  if (shape.length > 1) {
    const axes = shape.map((_, i) => i);
    const from = a % shape.length;
    axes.push(...axes.splice(from, 1));
    l = permuteLayout(l, axes);
  }
  if (cut && shape.length > 0) {
    const axis = b % shape.length;
    const d = l.shape[axis]!;
    l = sliceLayout(l, axis, Math.min(1, d), d, 1 + (b % 2));
  }
  return l;
});

describe('layout algebra agrees with enumeration', () => {
  test('reshape: a view has the same positions; undefined only where no strides could do it', () => {
    fc.assert(
      fc.property(layouts, dims, (l, other) => {
        const n = elementCount(l.shape);
        const shape = elementCount(other) === n ? other : [n];
        const view = reshapeLayout(l, shape);
        if (view) expect(positions(view)).toEqual(positions(l));
        else expect(arithmetic(positions(l), shape)).toBe(false);
      }),
      { numRuns: 2000 },
    );
  });

  test('permute, slice and expand pick the positions they say', () => {
    fc.assert(
      fc.property(layouts, fc.nat(), (l, pick) => {
        if (l.shape.length === 0) return;
        const axis = pick % l.shape.length;
        const d = l.shape[axis]!;
        const moved = permuteLayout(l, [axis, ...l.shape.map((_, i) => i).filter((i) => i !== axis)]);
        const parts = Array.from({ length: d }, (_, i) => positions(sliceLayout(l, axis, i, i + 1)));
        expect(positions(moved)).toEqual(parts.flat());
        const wide = expandLayout('test', l, [2, ...l.shape]);
        expect(positions(wide)).toEqual([...positions(l), ...positions(l)]);
      }),
    );
  });

  test('dense means every position in the span exactly once', () => {
    fc.assert(
      fc.property(layouts, (l) => {
        if (elementCount(l.shape) === 0) return;
        const p = positions(l);
        const dense = new Set(p).size === p.length && span(l) === p.length;
        expect(isDense(l)).toBe(dense);
      }),
    );
  });

  test('broadcasting agrees with counting from the right', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(1, 3), { maxLength: 4 }),
        fc.array(fc.constantFrom(1, 3), { maxLength: 4 }),
        (a, b) => {
          const rank = Math.max(a.length, b.length);
          const want = Array.from({ length: rank }, (_, i) =>
            Math.max(a.at(i - rank) ?? 1, b.at(i - rank) ?? 1),
          );
          expect(broadcastShapes('test', a, b)).toEqual(want);
        },
      ),
    );
    expect(() => broadcastShapes('add', [2, 3], [4])).toThrow('add: shapes do not broadcast: [2,3] and [4]');
  });
});

/** True iff `shape` could be laid over these positions with constant strides. */
function arithmetic(p: readonly number[], shape: readonly number[]): boolean {
  if (p.length === 0) return true;
  const step = contiguousStrides(shape);
  const strides = shape.map((d, i) => (d > 1 ? p[step[i]!]! - p[0]! : 0));
  const l: Layout = { shape, strides, offset: p[0]! };
  return positions(l).every((v, i) => v === p[i]);
}

test('channels last has the strides PyTorch documents', () => {
  expect(channelsLastStrides([10, 3, 16, 16])).toEqual([768, 1, 48, 3]);
  expect(channelsLastStrides([4, 320, 3, 3])).toEqual([2880, 1, 960, 320]);
  expect(memoryFormatOf(layoutOf([2, 3, 4, 5], 'channelsLast'))).toBe('channelsLast');
});
