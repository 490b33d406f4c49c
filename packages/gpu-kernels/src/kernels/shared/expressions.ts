// Properties of expressions that kernels depend on.

import { children } from '@darkroom/core/backend';
import type { Expr } from '@darkroom/core';

/** True if `e` reads output coordinates. */
export function usesIndex(e: Expr): boolean {
  return (typeof e !== 'number' && e[0] === 'index') || children(e).some(usesIndex);
}
