// Inputs of kernel cases: shapes, dtypes, value ranges and the kinds of layout that views can give.

import { tensor } from '../create.ts';
import type { Device } from '../device.ts';
import type { DType } from '../dtype.ts';
import { elementCount } from '../layout.ts';
import { toFormat } from '../ops/copy.ts';
import { scope } from '../scope.ts';
import type { Tensor } from '../tensor.ts';

/**
 * 'permuted': memory in reversed order of dimensions; 'transposed': with the last two exchanged; 'sliced': gaps after
 * every row; 'offset': starts late; 'broadcast': the first dimension has stride 0.
 */
export type InputLayout =
  'contiguous' | 'channelsLast' | 'permuted' | 'transposed' | 'sliced' | 'offset' | 'broadcast';

/** Description of one input of a case. */
export interface InputSpec {
  readonly shape: readonly number[];
  readonly dtype?: DType;
  readonly layout?: InputLayout;
  /** Values: about N(0, 1) by default; 'positive' in (0, 2); { below } integers from 0. */
  readonly values?: 'normal' | 'positive' | { readonly below: number };
}

/** Deterministic values in row-major order. */
function hostValues(spec: InputSpec, count: number, seed: number): Float32Array {
  const out = new Float32Array(count);
  let state = (Math.imul(seed + 1, 0x9e3779b9) ^ 0x5bd1e995) >>> 0;
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const { values = 'normal' } = spec;
  for (let i = 0; i < count; i++) {
    if (typeof values === 'object') out[i] = Math.floor(uniform() * values.below);
    else if (values === 'positive') out[i] = uniform() * 2 + 1e-3;
    else out[i] = (uniform() + uniform() + uniform() + uniform() - 2) * 1.7;
  }
  return out;
}

/** The same logical values on any device, in the layout asked for. The caller's scope owns it. */
export function buildInput(spec: InputSpec, seed: number, device: Device): Tensor {
  const { shape, dtype = 'float32', layout = 'contiguous' } = spec;
  const make = (dims: readonly number[]): Tensor =>
    tensor(hostValues(spec, elementCount(dims), seed), { shape: dims, dtype, device });
  return scope(() => {
    switch (layout) {
      case 'contiguous':
        return make(shape);
      case 'channelsLast':
        return shape.length === 4 ? toFormat(make(shape), 'channelsLast') : make(shape);
      case 'permuted': {
        const axes = shape.map((_, i) => shape.length - 1 - i);
        return make(shape.toReversed()).permute(...axes);
      }
      case 'transposed':
        return shape.length < 2
          ? make(shape)
          : make([...shape.slice(0, -2), shape.at(-1)!, shape.at(-2)!]).transpose();
      case 'sliced': {
        if (shape.length === 0) return make(shape);
        const wide = [...shape.slice(0, -1), shape.at(-1)! + 3];
        return make(wide).slice(-1, 1, 1 + shape.at(-1)!);
      }
      case 'offset': {
        if (shape.length === 0) return make(shape);
        return make([shape[0]! + 1, ...shape.slice(1)]).slice(0, 1, 1 + shape[0]!);
      }
      case 'broadcast':
        return shape.length === 0 ? make(shape) : make([1, ...shape.slice(1)]).expand(shape);
    }
  });
}
