// Checks an op from a file against its descriptor: each attribute has its type and range, none is missing, none is
// unknown. Shape rules (infer) check that attributes fit the inputs.

import { integer } from '../attributes.ts';
import type { Attribute } from '../attributes.ts';
import { FormatError } from '../errors.ts';
import { children } from '../expr.ts';
import type { Expr } from '../expr.ts';
import type { AnyRules, Leaves } from '../op-rules.ts';
import { findDefinition } from '../ops/table.ts';
import type { Op } from '../ops/table.ts';
import { isView, viewRules } from '../ops/views.ts';

/** The most dimensions of a tensor in a file. */
export const maxRank = 8;

interface FileRules {
  readonly inputs: readonly [least: number, most: number];
  readonly attributes: Readonly<Record<string, Attribute>>;
  readonly expressions: AnyRules['expressions'];
}

const result: FileRules = { inputs: [1, 1], attributes: { index: integer(1, 64) }, expressions: undefined };

/** The rules of a kind for files; undefined for a kind that files may not contain. */
function rulesOf(kind: string): FileRules | undefined {
  const op = { kind };
  if (isView(op))
    return { inputs: [1, 1], attributes: { ...viewRules(op).attributes }, expressions: undefined };
  if (kind === 'result') return result;
  const definition = findDefinition(kind);
  if (!definition?.attributes) return undefined;
  const { inputs, attributes, expressions } = definition;
  return { inputs, attributes, expressions };
}

/** Checks an op with `inputs` inputs and a result of `rank` dimensions, as read from a file; throws FormatError. */
export function checkOp(
  op: Readonly<Record<string, unknown>>,
  inputs: number,
  rank: number,
  where: string,
): Op {
  const fail = (message: string): never => {
    throw new FormatError(`${where}: ${message}`);
  };
  const { kind, ...attributes } = op;
  if (typeof kind !== 'string') return fail(`unknown op kind '${String(kind)}'`);
  const rules = rulesOf(kind);
  if (!rules) {
    return fail(findDefinition(kind) ? `${kind} ops are not read from files` : `unknown op kind '${kind}'`);
  }
  const [least, most] = rules.inputs;
  if (inputs < least || inputs > most) fail(`${kind} takes ${least} to ${most} inputs, not ${inputs}`);
  const known = new Map(Object.entries(rules.attributes));
  for (const [name, { optional }] of known)
    if (!optional && !Object.hasOwn(attributes, name)) fail(`${kind} has no '${name}'`);
  for (const [name, value] of Object.entries(attributes)) {
    const attribute = known.get(name);
    if (!attribute) fail(`${kind} has an unknown attribute '${name}'`);
    else if (!attribute.fits(value, where))
      fail(`'${name}' of ${kind} may not be ${JSON.stringify(value)?.slice(0, 80)}`);
  }
  for (const [name, leaves] of Object.entries(rules.expressions ?? {})) {
    const allowed = (leaves as (op: unknown, inputs: number, rank: number) => Leaves)(op, inputs, rank);
    const wrong = strayIn(attributes[name] as Expr | undefined, allowed);
    if (wrong) fail(`an expression of ${kind} reads ${JSON.stringify(wrong)}, which it does not have`);
  }
  return op as unknown as Op;
}

/** The first leaf that reads an input, number or coordinate that the op does not have. */
function strayIn(e: Expr | undefined, leaves: Leaves): Expr | undefined {
  if (e === undefined || typeof e === 'number') return undefined;
  const [head, at] = e as readonly [string, unknown];
  const limit = head === 'in' ? leaves.inputs : head === 'scalar' ? leaves.scalars : head === 'index' ? leaves.axes : undefined; // prettier-ignore
  if (limit !== undefined) return (at as number) < limit ? undefined : e;
  for (const kid of children(e)) {
    const found = strayIn(kid, leaves);
    if (found !== undefined) return found;
  }
  return undefined;
}
