// For tests: whether this machine has an adapter. Tests without one are skipped with the reason printed, unless
// DARKROOM_REQUIRE names webgpu (as CI does): then they fail.

import { skip } from '@darkroom/core/testing';
import { webgpu } from '../open.ts';

/** True where no adapter is found; tests then are skipped with the reason printed. @throws Error where DARKROOM_REQUIRE names webgpu. */
export async function adapterIsMissing(): Promise<boolean> {
  try {
    (await webgpu())[Symbol.dispose]();
    return false;
  } catch (error) {
    return skip('webgpu', (error as Error).message);
  }
}
