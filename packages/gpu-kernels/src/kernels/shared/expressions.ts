// Questions about expressions that kernels ask.

import { children } from '@darkroom/core/backend';
import type { Expr } from '@darkroom/core';

/** Whether `e` reads output coordinates. */
export function usesIndex(e: Expr): boolean {
  return (typeof e !== 'number' && e[0] === 'index') || children(e).some(usesIndex);
}
