// Types of a kernel factory of this backend. Pointers are byte addresses in the engine's memory.

import { layoutOf } from '@darkroom/core/backend';
import type { AnyOp, ArgSpec } from '@darkroom/core/backend';
import type { View } from '../reference/shared/access.ts';
import { prepareMap } from '../simd/map.ts';
import type { MapOperand, PreparedMap } from '../simd/map.ts';
import type { Engine } from '../simd/engine.ts';
import type { Packable } from '../simd/packing.ts';

/** Enqueues (here: does) the work on pointers of the inputs, then the output. */
export type Run = (pointers: readonly number[], scalars: readonly number[]) => void;

/** Index of the argument that a kernel may take packed (packing.ts): the weight of a product. */
export const weightArgument = 1;

/** Fast kernels for an op: ids of choices, and the kernel for one. */
export interface Factory<O extends AnyOp = AnyOp> {
  choices(op: O, args: readonly ArgSpec[]): readonly string[];
  prepare(engine: Engine, op: O, args: readonly ArgSpec[], choice: string): Run | Packable<Run>;
}

/** An op as plain loops in double precision, rounded once on store. Arguments are the inputs, then the outputs. */
export type Reference<O extends AnyOp = AnyOp> = (
  op: O,
  args: readonly View[],
  scalars: readonly number[],
) => void;

/** The kernels of one op kind: the reference, which is the oracle of all backends, and fast ones where they pay. */
export interface CpuKernels<O extends AnyOp = AnyOp> {
  readonly reference: Reference<O>;
  readonly fast?: Factory<O>;
}

export function operand(spec: ArgSpec): MapOperand {
  return { dtype: spec.dtype, strides: spec.layout.strides };
}

/** `spec` as seen from `shape`: broadcast dimensions get stride 0. */
export function broadcast(spec: ArgSpec, shape: readonly number[]): MapOperand {
  const { layout } = spec;
  const lead = shape.length - layout.shape.length;
  const strides = shape.map((_, i) =>
    i < lead || layout.shape[i - lead] === 1 ? 0 : layout.strides[i - lead]!,
  );
  return { dtype: spec.dtype, strides };
}

/** A kernel that copies one argument to another, casting. */
export function mover(
  engine: Engine,
  shape: readonly number[],
  from: MapOperand,
  to: MapOperand,
): PreparedMap {
  return prepareMap(engine, { expr: ['in', 0], shape, inputs: [from], output: to })!;
}

/** float32, row-major. */
export function dense(shape: readonly number[]): MapOperand {
  return { dtype: 'float32', strides: layoutOf(shape).strides };
}

/**
 * Runs `body` with each input that `needs` conversion replaced by a temporary dense float32 copy, and the output by
 * one that is converted afterwards. Temporaries live for one run.
 */
export function withDense(
  engine: Engine,
  args: readonly ArgSpec[],
  needs: readonly boolean[],
  body: Run,
): Run {
  if (!needs.some(Boolean)) return body;
  const last = args.length - 1;
  const movers = args.map((arg, i) => {
    if (!needs[i]) return undefined;
    const { shape } = arg.layout;
    return i === last
      ? mover(engine, shape, dense(shape), operand(arg))
      : mover(engine, shape, operand(arg), dense(shape));
  });
  const bytes = args.map((arg) => 4 * arg.layout.shape.reduce((a, b) => a * b, 1));
  return (pointers, scalars) => {
    const temporary: number[] = [];
    const actual = pointers.map((p, i) => {
      if (!movers[i]) return p;
      const at = engine.alloc(bytes[i]!);
      temporary.push(at);
      if (i < last) movers[i].run([p, at], []);
      return at;
    });
    body(actual, scalars);
    movers[last]?.run([actual[last]!, pointers[last]!], []);
    for (const at of temporary) engine.free(at);
  };
}

/** True iff float32 and row-major: what the row kernels read. */
export function isDense(spec: ArgSpec): boolean {
  const { shape, strides } = spec.layout;
  const want = layoutOf(shape).strides;
  return spec.dtype === 'float32' && shape.every((d, i) => d === 1 || strides[i] === want[i]);
}
