// The same work in torch, as a child process in the same run: packages/bench/torch/replay.py.

import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { partNames } from './modules.ts';
import type { PartName } from './modules.ts';
import type { TorchReport } from './records.ts';
import type { StageContext } from './stage.ts';

/** Of the stage's seconds: for the last part to end by itself, and for ending it. */
const slack = 14;
const spare = 3;

/** A stage. `parts`: all of them, or those that are named. */
export function torchReplay(name: string, modes: readonly string[], parts: readonly PartName[] = partNames) {
  return async ({ options, record, left }: StageContext): Promise<void> => {
    const partial = join(options.scratch, `${name.replaceAll(' ', '-')}.json`);
    const seconds = Math.max(0, left() - slack);
    const args = [
      'replay.py',
      'sd15-ops.json',
      '--modes',
      modes.join(','),
      '--parts',
      parts.join(','),
      '--json',
      partial,
    ];
    const { code, stdout, stderr } = await python(
      options.torch,
      [...args, '--seconds', String(seconds)],
      Math.max(1, left() - spare),
    );
    const whole = code === 0 ? stdout : undefined;
    const text = whole ?? readIfThere(partial);
    if (text) record({ kind: 'torch', report: JSON.parse(text) as TorchReport });
    if (code === 'missing') record({ kind: 'torch', report: { missing: 'python3 is not here' } });
    else if (whole === undefined)
      throw new Error(`torch replay ended with ${code}: ${stderr.trim().split('\n').at(-1)?.slice(0, 400)}`);
  };
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined; // nothing was measured before it ended
  }
}

/** How a Python program ended, and what it printed. */
export interface Ended {
  /** Exit code or signal. */
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs python3 in a folder; ended after `seconds`. The code is 'missing' where there is no python3. */
export function python(folder: string, args: readonly string[], seconds: number): Promise<Ended> {
  return new Promise((resolve) => {
    const env = { ...process.env, PYTHONDONTWRITEBYTECODE: '1' };
    const child = spawn('python3', args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'], env });
    const text = { stdout: '', stderr: '' };
    child.stdout.setEncoding('utf8').on('data', (part: string) => (text.stdout += part));
    child.stderr.setEncoding('utf8').on('data', (part: string) => (text.stderr += part));
    const timer = setTimeout(() => child.kill('SIGKILL'), 1000 * seconds);
    const end = (code: number | string): void => {
      clearTimeout(timer);
      resolve({ code, ...text });
    };
    child.on('error', () => end('missing'));
    child.on('close', (code, signal) => end(code ?? signal ?? 'no code'));
  });
}
