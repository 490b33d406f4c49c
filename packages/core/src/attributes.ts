// What an attribute of an op may be when it comes from a file: its type and range. Whether it fits the inputs is for the
// op's shape rules (infer) to say.

import { isDType } from './dtype.ts';
import { validateExpr } from './expr.ts';

/** One attribute: whether it may be missing, and which values it takes. `where` names the file and node in errors. */
export interface Attribute {
  readonly optional?: true;
  fits(value: unknown, where: string): boolean;
}

/** Integers from `min` to `max`. */
export const integer = (min: number, max: number = Number.MAX_SAFE_INTEGER): Attribute => ({
  fits: (v) => Number.isSafeInteger(v) && (v as number) >= min && (v as number) <= max,
});
/** Integers from 0. */
export const size: Attribute = integer(0);
/** Finite numbers. */
export const number: Attribute = { fits: (v) => typeof v === 'number' && Number.isFinite(v) };
/** true and false. */
export const boolean: Attribute = { fits: (v) => typeof v === 'boolean' };
/** The name of a dtype. */
export const dtype: Attribute = { fits: isDType };
/** One of these names. */
export const oneOf = (...names: readonly string[]): Attribute => ({
  fits: (v) => typeof v === 'string' && names.includes(v),
});
/** A list of `length` values, or of at most 64. */
export const list = (each: Attribute, length?: number): Attribute => ({
  fits: (v, where) =>
    Array.isArray(v) &&
    (length === undefined ? v.length <= 64 : v.length === length) &&
    v.every((x) => each.fits(x, where)),
});
/** A pointwise expression; throws FormatError saying what is wrong with it. */
export const expression: Attribute = { fits: (v, where) => validateExpr(v, where) !== undefined };
/** An attribute that may be missing. */
export const optional = ({ fits }: Attribute): Attribute => ({ optional: true, fits });
/** Whether products may round their operands. */
export const precision: Attribute = optional(oneOf('float32', 'tf32'));
