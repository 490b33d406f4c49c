// What the attributes of an op may be when they come from a file. Shape rules (infer) check that they fit the inputs;
// here each is of its type and range, nothing is missing and nothing is there that no kernel knows.

import { isDType } from '../dtype.ts';
import { FormatError } from '../errors.ts';
import { children, validateExpr } from '../expr.ts';
import type { Expr } from '../expr.ts';
import type { Op } from '../op.ts';

type Check = (value: unknown, where: string) => boolean;

const integer = (min: number, max: number = Number.MAX_SAFE_INTEGER): Check => {
  return (v) => Number.isSafeInteger(v) && (v as number) >= min && (v as number) <= max;
};
const size = integer(0);
const number: Check = (v) => typeof v === 'number' && Number.isFinite(v);
const boolean: Check = (v) => typeof v === 'boolean';
const dtype: Check = isDType;
const oneOf = (...names: readonly string[]): Check => {
  return (v) => typeof v === 'string' && names.includes(v);
};
const list = (each: Check, length?: number): Check => {
  return (v, where) =>
    Array.isArray(v) &&
    (length === undefined ? v.length <= 64 : v.length === length) &&
    v.every((x) => each(x, where));
};
const expr: Check = (v, where) => validateExpr(v, where) !== undefined;

/** Of tensors in files. */
export const maxRank = 8;

/** How many inputs a kind takes, its required attributes, and those that may be missing. */
interface Attributes {
  readonly inputs: readonly [min: number, max: number];
  readonly required: Readonly<Record<string, Check>>;
  readonly optional?: Readonly<Record<string, Check>>;
}

const word = integer(0, 2 ** 32 - 1);
const precision = oneOf('float32', 'tf32');
const kinds: { readonly [K in Exclude<Op['kind'], 'custom'>]: Attributes } = {
  map: { inputs: [0, 64], required: { expr, dtype }, optional: { shape: list(size), scalars: list(number) } },
  reduce: {
    inputs: [1, 1],
    required: { fn: oneOf('sum', 'max', 'min', 'argmax'), axes: list(size), keepDims: boolean },
    optional: { pre: expr, post: expr },
  },
  matmul: { inputs: [2, 64], required: {}, optional: { precision, epilogue: expr } },
  conv2d: {
    inputs: [2, 64],
    required: {
      stride: list(integer(1), 2),
      padding: list(size, 4),
      dilation: list(integer(1), 2),
      groups: integer(1),
    },
    optional: { precision, epilogue: expr },
  },
  winograd: { inputs: [2, 64], required: { padding: list(size, 4) }, optional: { epilogue: expr } },
  attention: { inputs: [3, 4], required: { scale: number, mask: oneOf('none', 'causal', 'additive') } },
  softmax: { inputs: [1, 1], required: { axis: size } },
  groupNorm: {
    inputs: [1, 3],
    required: { groups: integer(1), eps: number },
    optional: { activation: oneOf('silu') },
  },
  layerNorm: { inputs: [1, 3], required: { eps: number } },
  rmsNorm: { inputs: [1, 2], required: { eps: number } },
  gather: { inputs: [2, 2], required: { axis: size } },
  copy: {
    inputs: [0, 4096],
    required: {
      shape: list(size),
      dtype,
      format: oneOf('contiguous', 'channelsLast'),
      starts: list(list(size)),
    },
    optional: { fill: number },
  },
  fill: { inputs: [0, 0], required: { shape: list(size), dtype, value: number } },
  resize: { inputs: [1, 1], required: { mode: oneOf('nearest', 'bilinear'), size: list(integer(1), 2) } },
  random: {
    inputs: [0, 0],
    required: {
      distribution: oneOf('normal', 'uniform'),
      shape: list(size),
      dtype,
      seed: list(word, 2),
      offset: size,
    },
  },
  reshape: { inputs: [1, 1], required: { shape: list(size) } },
  permute: { inputs: [1, 1], required: { axes: list(integer(-64, 64)) } },
  expand: { inputs: [1, 1], required: { shape: list(size) } },
  slice: {
    inputs: [1, 1],
    required: {
      axis: integer(-64, 64),
      start: integer(-(2 ** 40)),
      stop: integer(-(2 ** 40)),
      step: integer(1),
    },
  },
};

/** Checks an op with `inputs` inputs and a result of `rank` dimensions, as read from a file; throws FormatError. */
export function validateOp(
  op: Readonly<Record<string, unknown>>,
  inputs: number,
  rank: number,
  where: string,
): Op {
  const fail = (message: string): never => {
    throw new FormatError(`${where}: ${message}`);
  };
  const { kind, ...attributes } = op;
  // Its sources would be a stranger's program, run on this machine's devices.
  if (kind === 'custom') fail('custom ops are not read from files');
  if (typeof kind !== 'string' || !Object.hasOwn(kinds, kind))
    return fail(`unknown op kind '${String(kind)}'`);
  const rules: Attributes = kinds[kind as keyof typeof kinds];
  const [min, max] = rules.inputs;
  if (inputs < min || inputs > max) fail(`${kind} takes ${min} to ${max} inputs, not ${inputs}`);
  const missing = Object.keys(rules.required).find((name) => !Object.hasOwn(attributes, name));
  if (missing !== undefined) fail(`${kind} has no '${missing}'`);
  const checks = new Map(Object.entries({ ...rules.required, ...rules.optional }));
  for (const [name, value] of Object.entries(attributes)) {
    const check = checks.get(name);
    if (!check) fail(`${kind} has an unknown attribute '${name}'`);
    else if (!check(value, where))
      fail(`'${name}' of ${kind} may not be ${JSON.stringify(value)?.slice(0, 80)}`);
  }
  const known = op as unknown as Op;
  const wrong = strayLeaf(known, inputs, rank);
  if (wrong) fail(`an expression of ${kind} reads ${JSON.stringify(wrong)}, which it does not have`);
  return known;
}

/** The first leaf that reads an input, a number or a coordinate which the op does not have. */
function strayLeaf(op: Op, inputs: number, rank: number): Expr | undefined {
  switch (op.kind) {
    case 'map':
      return strayIn(op.expr, inputs, op.scalars?.length ?? 0, rank);
    case 'reduce':
      return strayIn(op.pre, 1, 0, 0) ?? strayIn(op.post, 1, 0, 0);
    case 'matmul':
    case 'conv2d':
    case 'winograd':
      return strayIn(op.epilogue, inputs - 1, 0, 0);
    default:
      return undefined;
  }
}

function strayIn(e: Expr | undefined, inputs: number, scalars: number, axes: number): Expr | undefined {
  if (e === undefined || typeof e === 'number') return undefined;
  const [head, at] = e as readonly [string, unknown];
  const limit = head === 'in' ? inputs : head === 'scalar' ? scalars : head === 'index' ? axes : undefined;
  if (limit !== undefined) return (at as number) < limit ? undefined : e;
  for (const kid of children(e)) {
    const found = strayIn(kid, inputs, scalars, axes);
    if (found !== undefined) return found;
  }
  return undefined;
}
