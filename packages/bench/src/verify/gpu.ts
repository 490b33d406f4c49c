// The GPU's state as nvidia-smi tells it: a number without clocks and temperature beside it means little. Reads only.

import { spawnSync } from 'node:child_process';

const fields = [
  'name',
  'driver_version',
  'clocks.sm',
  'clocks.mem',
  'clocks.max.sm',
  'power.draw',
  'power.limit',
  'temperature.gpu',
  'memory.used',
  'clocks_throttle_reasons.active',
] as const;

/** Undefined where nvidia-smi is missing or does not answer. */
export function gpuState(): Readonly<Record<string, string>> | undefined {
  // Drivers rename fields, the last one not long ago; an unknown one costs all the others.
  return query(fields) ?? query(fields.slice(0, -1));
}

function query(names: readonly string[]): Readonly<Record<string, string>> | undefined {
  const { status, stdout } = spawnSync(
    'nvidia-smi',
    [`--query-gpu=${names.join(',')}`, '--format=csv,noheader', '--id=0'],
    { encoding: 'utf8', timeout: 5000 },
  );
  if (status !== 0) return undefined;
  const values = stdout.trim().split(', ');
  return Object.fromEntries(names.map((field, i) => [field, values[i] ?? '']));
}
