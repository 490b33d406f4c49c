// Output of benchmarks: a table on stdout and one JSON file with everything needed to read the numbers later.

import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';

export interface Environment {
  readonly date: string;
  readonly node: string;
  readonly cpu: string;
  readonly cores: number;
  readonly commit: string;
  readonly command: string;
  readonly device: string;
}

export function environment(device: string): Environment {
  // A bundle without its repository says where it came from.
  let commit = process.env['DARKROOM_COMMIT'] ?? 'unknown';
  try {
    commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    // Not a checkout: the numbers stay readable without it.
  }
  const command = `bench ${process.argv.slice(2).join(' ')}`;
  return {
    date: new Date().toISOString(),
    node: process.version,
    cpu: cpus()[0]!.model,
    cores: cpus().length,
    commit,
    command,
    device,
  };
}

/** Columns are padded to their widest cell; numbers go right. */
export function table(rows: readonly Readonly<Record<string, string | number>>[]): string {
  if (rows.length === 0) return '(nothing measured)';
  const columns = Object.keys(rows[0]!);
  const cells = rows.map((row) => columns.map((c) => String(row[c] ?? '')));
  const widths = columns.map((c, i) => Math.max(c.length, ...cells.map((line) => line[i]!.length)));
  const line = (parts: readonly string[], row?: Readonly<Record<string, string | number>>): string =>
    parts
      .map((p, i) =>
        row && typeof row[columns[i]!] === 'number' ? p.padStart(widths[i]!) : p.padEnd(widths[i]!),
      )
      .join('  ');
  return [line(columns), ...cells.map((parts, i) => line(parts, rows[i]))].join('\n');
}

export function writeJson(path: string, value: unknown): void {
  writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`);
}
