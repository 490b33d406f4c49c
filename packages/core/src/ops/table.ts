// The op table: the union of the built-in ops and the definition of each kind; for graphs, files and tests. A forgotten
// kind does not compile. Kinds that are not built in are registered.

import type { AnyDefinition, OpDefinition } from '../dispatch.ts';
import { ArgumentError, UnsupportedOpError } from '../errors.ts';
import type { AnyOp, ResultOp, Spec, ViewOp } from '../op.ts';
import { keyOf, outputsOf, scalarsOf } from '../op-rules.ts';
import { OpTable } from '../op-table.ts';
import { attentionDefinition } from './attention.ts';
import type { AttentionOp } from './attention.ts';
import { conv2dDefinition } from './conv2d.ts';
import type { Conv2dOp } from './conv2d.ts';
import { copyRules } from './copy-rules.ts';
import type { CopyOp } from './copy-rules.ts';
import { customDefinition } from './custom.ts';
import type { CustomOp } from './custom.ts';
import { fillDefinition } from './fill.ts';
import type { FillOp } from './fill.ts';
import { gatherDefinition } from './gather.ts';
import type { GatherOp } from './gather.ts';
import { mapDefinition } from './map.ts';
import type { MapOp } from './map.ts';
import { matmulDefinition } from './matmul.ts';
import type { MatmulOp } from './matmul.ts';
import { groupNormDefinition, layerNormDefinition, rmsNormDefinition } from './norm.ts';
import type { GroupNormOp, LayerNormOp, RmsNormOp } from './norm.ts';
import { randomDefinition } from './random.ts';
import type { RandomOp } from './random.ts';
import { reduceDefinition } from './reduce.ts';
import type { ReduceOp } from './reduce.ts';
import { resizeDefinition } from './resize.ts';
import type { ResizeOp } from './resize.ts';
import { softmaxDefinition } from './softmax.ts';
import type { SoftmaxOp } from './softmax.ts';
import { winogradDefinition } from './winograd.ts';
import type { WinogradOp } from './winograd.ts';

/** The built-in ops that run as kernels. */
export type KernelOp =
  | MapOp | ReduceOp | MatmulOp | Conv2dOp | WinogradOp | AttentionOp | SoftmaxOp | GroupNormOp | LayerNormOp | RmsNormOp
  | GatherOp | CopyOp | FillOp | ResizeOp | RandomOp | CustomOp; // prettier-ignore

/**
 * An op of a graph's node. Registered ops stand in graphs as well, under kinds that are not named here.
 */
export type Op = KernelOp | ViewOp | ResultOp;

type Definitions = { readonly [K in KernelOp['kind']]: OpDefinition<Extract<KernelOp, { kind: K }>> };

const builtIn: Definitions = {
  map: mapDefinition,
  reduce: reduceDefinition,
  matmul: matmulDefinition,
  conv2d: conv2dDefinition,
  winograd: winogradDefinition,
  attention: attentionDefinition,
  softmax: softmaxDefinition,
  groupNorm: groupNormDefinition,
  layerNorm: layerNormDefinition,
  rmsNorm: rmsNormDefinition,
  gather: gatherDefinition,
  copy: copyRules,
  fill: fillDefinition,
  resize: resizeDefinition,
  random: randomDefinition,
  custom: customDefinition(),
};

/** Kinds of nodes that are no kernel ops. */
const kindsOfOtherNodes: readonly string[] = ['reshape', 'permute', 'expand', 'slice', 'result'];

const definitions = new OpTable<AnyDefinition>('core', builtIn as unknown as Record<string, AnyDefinition>);

/**
 * Makes an op kind known to graphs and files, beside the built-in ones; dispatch() takes a definition and does not need
 * this. Kernels are registered with the backends.
 * @throws ArgumentError when the kind has another definition.
 */
export function registerOp<O extends AnyOp>(definition: AnyDefinition<O>): void {
  if (kindsOfOtherNodes.includes(definition.kind))
    throw new ArgumentError(`registerOp: '${definition.kind}' is a kind of view or result`);
  definitions.register(definition.kind, definition as unknown as AnyDefinition);
}

/** Kinds that have a definition. */
export const opKinds = (): readonly string[] => definitions.kinds();

/** The definition of a kind, undefined where there is none. */
export const findDefinition = (kind: string): AnyDefinition | undefined => definitions.get(kind);

/** The definition of an op with any number of outputs. @throws UnsupportedOpError when its kind is not registered. */
export function anyDefinitionOf(op: AnyOp): AnyDefinition {
  const found = definitions.get(op.kind);
  if (!found) throw new UnsupportedOpError(`${op.kind}: there is no op of this kind; registerOp() adds one`);
  return found;
}

/** The definition of an op of one output, as all built-in ones are. @throws UnsupportedOpError as anyDefinitionOf. */
export function definitionOf<O extends AnyOp>(op: O): OpDefinition<O> {
  return anyDefinitionOf(op) as unknown as OpDefinition<O>;
}

/** The specs of all outputs of an op. @throws what its infer throws. */
export function inferAll(op: AnyOp, inputs: readonly Spec[]): readonly Spec[] {
  return outputsOf(anyDefinitionOf(op), op, inputs);
}

/** A text equal for ops that may share a kernel, given equal input specs; see OpRules.key. */
export function opKey(op: AnyOp): string {
  return keyOf(anyDefinitionOf(op), op);
}

/** The run-time numbers of an op, in the order that a kernel receives them. */
export function opScalars(op: AnyOp): readonly number[] {
  return scalarsOf(anyDefinitionOf(op), op);
}
