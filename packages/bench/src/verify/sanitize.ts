// compute-sanitizer on the smoke test's kernels: races in shared memory, and accesses outside of what was allocated.

import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { StageContext } from './stage.ts';

/** Seconds that a stage leaves unused, so that it ends by itself. */
const spare = 2;

/** A stage. Where the tool is not, it says so and passes; its whole report is `<tool>.txt` in the results. */
export function sanitize(tool: 'racecheck' | 'memcheck') {
  return async ({ options, record, left }: StageContext): Promise<void> => {
    const log = join(options.results, `${tool}.txt`);
    const at = process.argv.indexOf('--stage');
    const args = process.argv.slice(1, at).concat('--stage', 'smoke kernels', '--scratch', options.scratch);
    const limit = left() - spare;
    const code = await new Promise<string>((done) => {
      const all = ['--tool', tool, '--log-file', log, '--print-limit', '20', process.execPath, ...args];
      const env = { ...process.env, DARKROOM_CUDA_LIBRARIES: 'none' };
      const child = spawn('compute-sanitizer', all, { stdio: 'inherit', env, detached: true });
      // The tool and what it runs are one group.
      const timer = setTimeout(() => process.kill(-child.pid!, 'SIGKILL'), 1000 * limit);
      const end = (how: string): void => {
        clearTimeout(timer);
        done(how);
      };
      child.on('error', () => end('missing'));
      child.on('close', (status, signal) =>
        end(signal ? `ended after ${limit.toFixed(0)} s` : String(status)),
      );
    });
    if (code === 'missing') {
      record({ kind: 'fact', name: tool, value: 'compute-sanitizer is not here' });
      return;
    }
    const text = existsSync(log) ? readFileSync(log, 'utf8') : '';
    const summary = /SUMMARY: .*/g.exec(text)?.[0];
    record({ kind: 'fact', name: tool, value: { code, summary, start: text.slice(0, 1500) } });
    const found = /SUMMARY: (?!0 )\d+/.test(text) || /=+ (Error|ERROR): /.test(text);
    record({
      kind: 'check',
      name: tool,
      passed: summary !== undefined && !found ? 1 : 0,
      unsupported: 0,
      failures: found ? [`${tool}: ${summary ?? text.slice(0, 300)}`] : [],
    });
  };
}
