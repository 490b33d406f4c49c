// Kernels of one invocation an element of a shape.

import { elementCount } from '@darkroom/core/backend';
import type { Shader } from '../../text/shader.ts';
import type { KernelDispatch } from '../../text/dispatch.ts';
import { flatThreads, groupsFor } from '../kernel.ts';

/** The head of every flat kernel: `flat`, and its coordinates i0… in `shape`. */
export function flatBody(s: Shader, shape: readonly number[], rest: string): KernelDispatch {
  const count = elementCount(shape);
  const body = `let flat = group * ${flatThreads}u + tid;
  if (flat >= ${s.u32('count', count)}) { return; }
  ${s.decode('i', 'flat', shape)}
  ${rest}`;
  return s.dispatch(flatThreads, groupsFor(count), body);
}
