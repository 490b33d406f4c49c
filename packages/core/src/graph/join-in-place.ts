// Removes copies that only put values side by side (slices of an attention, a concatenation): each value is written
// straight to its place in the copy's output. The copy goes only if no other launch reads a value and each launch can
// write anywhere with the same sums (writesAnywhere); products keep the output layouts that their kernels are fastest
// with.

import type { Choice } from '../backend.ts';
import type { Layout } from '../layout.ts';
import { elementCount } from '../layout.ts';
import type { AnyOp } from '../op.ts';
import type { CopyOp } from '../ops/copy-rules.ts';
import { anyDefinitionOf } from '../ops/table.ts';
import { inputsOf, outputsOf } from './plan-data.ts';
import type { PlanArg, PlanLaunch } from './plan-data.ts';

/**
 * The launches without needless copies. `isValue` is true for a base in the plan's own memory. `choose` gives the
 * kernel choice for a launch whose output layout changed, undefined when there is none.
 */
export function joinInPlace(
  launches: readonly PlanLaunch[],
  isValue: (base: number) => boolean,
  choose: (op: AnyOp, args: readonly PlanArg[]) => Choice | undefined,
): PlanLaunch[] {
  const now = [...launches];
  const joined = new Set<number>();
  const uses = usesOf(launches);
  for (const [at, { op: any, args }] of launches.entries()) {
    if (any.kind !== 'copy') continue;
    const op = any as CopyOp;
    if (op.fill !== undefined || args.length < 3 || overlap(op, args)) continue;
    const out = args.at(-1)!;
    const moved = args.slice(0, -1).map((part, i) => {
      const { writers, readers } = uses.get(part.base)!;
      const alone = writers.length === 1 && readers.length === 1 && isValue(part.base);
      const written = alone ? placed(now[writers[0]!]!, part, out, op.starts[i]!) : undefined;
      const choice = written && choose(written.op, written.args);
      return choice && { at: writers[0]!, launch: { ...written, choice } };
    });
    if (uses.get(out.base)!.writers.length > 1 || !moved.every((m) => m !== undefined)) continue;
    for (const { at: writer, launch } of moved) now[writer] = launch;
    joined.add(at);
    uses.set(out.base, { ...uses.get(out.base)!, writers: moved.map((m) => m.at) });
  }
  return now.filter((_, at) => !joined.has(at));
}

interface Uses {
  /** Launches, in order; a launch that reads twice counts twice. */
  readonly writers: number[];
  readonly readers: number[];
}

function usesOf(launches: readonly PlanLaunch[]): Map<number, Uses> {
  const uses = new Map<number, Uses>();
  const usesOfBase = (base: number): Uses => {
    if (!uses.has(base)) uses.set(base, { writers: [], readers: [] });
    return uses.get(base)!;
  };
  for (const [at, launch] of launches.entries()) {
    for (const { base } of inputsOf(launch)) usesOfBase(base).readers.push(at);
    for (const { base } of outputsOf(launch)) usesOfBase(base).writers.push(at);
  }
  return uses;
}

/** True if two inputs of the copy share elements of the output, where the later one must win. */
function overlap(op: CopyOp, args: readonly PlanArg[]): boolean {
  const boxes = op.starts.map((start, i) => ({ start, shape: args[i]!.layout.shape }));
  return boxes.some((a, i) =>
    boxes
      .slice(i + 1)
      .some((b) => a.start.every((s, d) => s < b.start[d]! + b.shape[d]! && b.start[d]! < s + a.shape[d]!)),
  );
}

/** `launch`, whose output the copy reads as `part`, changed to write to the place of `part` in `out`. */
function placed(
  launch: PlanLaunch,
  part: PlanArg,
  out: PlanArg,
  start: readonly number[],
): PlanLaunch | undefined {
  if (!anyDefinitionOf(launch.op).writesAnywhere || outputsOf(launch).length > 1) return undefined;
  const own = launch.args.at(-1)!;
  if (own.dtype !== out.dtype || own.layout.offset !== part.layout.offset) return undefined;
  const strides = stridesIn(own.layout, part.layout, out.layout.strides);
  if (!strides) return undefined;
  const offset = start.reduce((sum, s, d) => sum + s * out.layout.strides[d]!, out.layout.offset);
  const target = { base: out.base, dtype: out.dtype, layout: { shape: own.layout.shape, strides, offset } };
  return { ...launch, args: [...launch.args.slice(0, -1), target] };
}

/**
 * The strides of layout `own` when its view `part` gets the strides `to`; undefined unless both have the same
 * dimensions, in any order.
 */
function stridesIn(own: Layout, part: Layout, to: readonly number[]): number[] | undefined {
  if (elementCount(own.shape) === 0 || elementCount(own.shape) !== elementCount(part.shape)) return undefined;
  const strides = own.shape.map((size, i) => {
    if (size === 1) return own.strides[i]!;
    const same = part.shape.findIndex((d, j) => d === size && part.strides[j] === own.strides[i]);
    return same < 0 ? undefined : to[same]!;
  });
  return strides.every((s) => s !== undefined) ? strides : undefined;
}
