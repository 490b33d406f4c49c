// Type and range of an op's attribute in a file. The op's shape rules (infer) check that it fits the inputs.

import { isDType } from './dtype.ts';
import { validateExpr } from './expr.ts';

/** One attribute: `optional` if it may be missing; `fits` checks a value. `where` names the file and node in errors. */
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
/** The precision of products: 'tf32' lets them round float32 operands. */
export const precision: Attribute = optional(oneOf('float32', 'tf32'));
