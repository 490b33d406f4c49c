// The progress bar on stderr, by cli-progress. Silent where stderr is not a terminal, unless forced.

import { SingleBar } from 'cli-progress';

/** Columns of what stands beside the bar. */
const textWidth = 60;

interface TerminalBar {
  update(done: number, note?: string): void;
  stop(): void;
}

/** The terminal's bar; undefined if stderr is no terminal, unless `force`. */
export function terminalBar(total: number, description: string, force: boolean): TerminalBar | undefined {
  if (!process.stderr.isTTY && !force) return undefined;
  const bar = new SingleBar({
    stream: process.stderr,
    format: `${description} {bar} {value}/{total} | {rate} steps/s | {eta_formatted} left{note}`,
    hideCursor: true,
    noTTYOutput: true,
    notTTYSchedule: 1000,
    barsize: Math.max(5, Math.min(30, (process.stderr.columns ?? 80) - textWidth)),
  });
  bar.start(total, 0, { rate: '-', note: '' });
  const start = performance.now();
  return {
    update(done, note) {
      const rate = ((1000 * done) / (performance.now() - start)).toFixed(2);
      bar.update(done, { rate, note: note ? ` | ${note}` : '' });
    },
    stop: () => bar.stop(),
  };
}
