// Comparing results with references: elementwise |a-b| <= atol + rtol·|ref| and, where given, relative L2.
// NaN fails, unless the reference holds NaN.

import { relativeL2 } from '@darkroom/core/testing';
import type { CaseTolerance, GoldenCase } from './manifest.ts';

/** The reason why `got` fails; undefined if it passes. */
export function mismatch(
  got: ArrayLike<number>,
  want: ArrayLike<number>,
  tolerance: CaseTolerance,
): string | undefined {
  if (got.length !== want.length) return `${got.length} values where the reference has ${want.length}`;
  let worst = 0;
  let at = -1;
  for (let i = 0; i < want.length; i++) {
    const [a, b] = [got[i]!, want[i]!];
    if (a === b || (Number.isNaN(a) && Number.isNaN(b))) continue;
    const ratio = Math.abs(a - b) / (tolerance.atol + tolerance.rtol * Math.abs(b));
    if (!(ratio <= 1) && !(ratio <= worst)) [worst, at] = [ratio, i];
  }
  if (at >= 0)
    return `element ${at} is ${got[at]} but the reference has ${want[at]} (${worst.toFixed(1)}x the tolerance)`;
  if (tolerance.rel_l2 !== undefined && Array.prototype.every.call(want, Number.isFinite)) {
    const distance = relativeL2(got, want);
    if (!(distance <= tolerance.rel_l2))
      return `relative L2 distance is ${distance.toExponential(2)}, allowed ${tolerance.rel_l2}`;
  }
  return undefined;
}

/** The tolerance of an output at a precision: per output, or one for the whole case. */
export function toleranceOf(test: GoldenCase, output: string, precision: 'f32' | 'f16'): CaseTolerance {
  const own = test.tolerance?.[output] as Record<string, CaseTolerance> | undefined;
  const tolerance = own?.[precision] ?? (test.tolerance?.[precision] as CaseTolerance | undefined);
  if (!tolerance) throw new Error(`case has no ${precision} tolerance for '${output}'`);
  return tolerance;
}
