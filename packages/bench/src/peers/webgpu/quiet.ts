// Waits until this process is idle, since background work would slow the next candidate down: onnxruntime-web, for one,
// compiles its WebAssembly on every core for seconds after its first run.

import { setTimeout as sleep } from 'node:timers/promises';

const windowMs = 100;
const limitMs = 120_000;

/** Resolves after a window in which the process took less than a twentieth of one core. */
export async function quiet(): Promise<void> {
  const end = performance.now() + limitMs;
  for (;;) {
    const before = process.cpuUsage();
    await sleep(windowMs);
    const { user, system } = process.cpuUsage(before);
    if (user + system < (windowMs * 1000) / 20) return;
    if (performance.now() > end) throw new Error(`still busy ${limitMs / 1000} s after its work`);
  }
}
