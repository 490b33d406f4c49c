// A convolution that also adds a value for each image and channel, as a library that cannot: its convolution without that
// term, then our own addition in place. Two launches are faster than one of ours, whose sums take longer than the
// addition (H200, 2026-11-27: 0.04 and 0.004 ms beside 0.066 for 320 channels at 64x64).

import type { Expr } from '@darkroom/core';
import type { ArgSpec, Choice, Conv2dOp, KernelOp, MapOp } from '@darkroom/core/backend';
import type { Stream } from '../node/native.ts';
import type { OwnKernels } from '../own-kernels.ts';
import type { Library, Prepared } from '../provider.ts';
import { linearEpilogue } from './epilogue.ts';

/** True for a term of `result` with a value for each image and channel but not for each pixel. */
export function isPerImage({ layout: { shape, strides } }: ArgSpec, result: ArgSpec): boolean {
  const [, , height, width] = result.layout.shape as [number, number, number, number];
  if (height * width === 1) return false;
  const images = shape.length === 4 && shape[0]! > 1 && strides[0] !== 0;
  return images && shape.slice(2).every((d, i) => d === 1 || strides[i + 2] === 0);
}

/** An op without its per-image term. */
interface Rest {
  readonly op: Conv2dOp;
  readonly args: readonly ArgSpec[];
  /** Of the whole op's arguments: those of the rest, in its order, and the term. */
  readonly taken: readonly number[];
  readonly term: number;
}

/** undefined where there is no such term, or more than sums in the epilogue. */
export function withoutPerImage(op: KernelOp, args: readonly ArgSpec[]): Rest | undefined {
  if (op.kind !== 'conv2d') return undefined;
  const epilogue = linearEpilogue(op.epilogue);
  if (!epilogue || epilogue.activation || epilogue.scale !== 1) return undefined;
  if (epilogue.terms.length !== args.length - 3 || epilogue.terms.some((t) => t.factor !== 1))
    return undefined;
  const found = epilogue.terms.filter(({ input }) => isPerImage(args[input + 1]!, args.at(-1)!));
  if (found.length !== 1) return undefined;
  const term = found[0]!.input + 1;
  const others = epilogue.terms.filter((t) => t !== found[0]).map((t) => t.input + 1);
  const sum = others.reduce<Expr>((left, _, i) => ['add', left, ['in', i + 1]], ['in', 0]);
  const { epilogue: _, ...bare } = op;
  const taken = [0, 1, ...others, args.length - 1];
  return {
    op: others.length > 0 ? { ...bare, epilogue: sum } : bare,
    args: taken.map((i) => args[i]!),
    taken,
    term,
  };
}

/** Both launches; undefined where the library does not take the rest. */
export function inTwoLaunches(
  library: Library,
  own: OwnKernels,
  rest: Rest,
  args: readonly ArgSpec[],
  choice: Choice,
): Prepared | undefined {
  const first = library.prepare(rest.op, rest.args, choice);
  if (!first) return undefined;
  const result = args.at(-1)!;
  const op: MapOp = { kind: 'map', expr: ['add', ['in', 0], ['in', 1]], dtype: result.dtype };
  const specs = [result, args[rest.term]!, result];
  const added = own.choices(op, specs)[0];
  return added && new InTwoLaunches(first, own.prepare(op, specs, added, true), rest, args.length);
}

class InTwoLaunches implements Prepared {
  readonly scratch: readonly number[];
  readonly #first: Prepared;
  readonly #second: Prepared;
  /** Of all addresses: those of the first launch, its scratch memory behind its arguments. */
  readonly #ofFirst: readonly number[];
  /** Those of the addition: the result, the term, the result. */
  readonly #ofSecond: readonly number[];
  readonly #firsts: number[];
  readonly #seconds: number[] = [0, 0, 0];

  constructor(first: Prepared, second: Prepared, { taken, term }: Rest, args: number) {
    this.scratch = first.scratch;
    this.#first = first;
    this.#second = second;
    this.#ofFirst = [...taken, ...first.scratch.map((_, i) => args + i)];
    this.#ofSecond = [args - 1, term, args - 1];
    this.#firsts = this.#ofFirst.map(() => 0);
  }

  /** Asked before there is scratch memory, whose addresses are aligned. */
  fits(addresses: readonly number[]): boolean {
    this.#pick(addresses);
    return this.#first.fits(this.#firsts) && this.#second.fits(this.#seconds);
  }

  run(addresses: readonly number[], scalars: readonly number[], stream: Stream): number {
    this.#pick(addresses);
    return this.#first.run(this.#firsts, scalars, stream) + this.#second.run(this.#seconds, [], stream);
  }

  #pick(addresses: readonly number[]): void {
    for (let i = 0; i < this.#firsts.length; i++) this.#firsts[i] = addresses[this.#ofFirst[i]!] ?? 0;
    for (let i = 0; i < 3; i++) this.#seconds[i] = addresses[this.#ofSecond[i]!]!;
  }
}
